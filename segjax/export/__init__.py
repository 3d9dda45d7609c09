"""A run's network for use without segjax: ``python -m segjax.export RUN_FOLDER OUT``."""
