"""The former name of `segjax.dlstudio`, kept for the command that people know."""
