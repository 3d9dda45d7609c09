"""Checks data before any training."""
