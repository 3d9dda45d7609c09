"""Trained runs at work: masks of your own images."""
