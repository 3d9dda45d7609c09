"""What goes wrong for a user: every error carries one line that says what and what to do."""

from collections.abc import Callable

Say = Callable[[str], None]  # gets what is to be told, a line at a time


class SegjaxError(Exception):
    """Base of all errors that a user can cause or mend; the command line prints it as one line."""


class ConfigError(SegjaxError, ValueError):
    """A setting, flag or argument has a value that cannot work."""


class DataError(SegjaxError):
    """A data file or image is missing, damaged, hostile or not what it should be."""


class CheckpointError(SegjaxError):
    """A checkpoint is missing, damaged, or belongs to another network or setting."""


class TrainingError(SegjaxError):
    """Training cannot go on, for instance because the loss is not finite any more."""
