"""Trained runs on labelled data: scores, what was taken for what, and the worst images."""
