"""Training: from the settings to a tested network."""
