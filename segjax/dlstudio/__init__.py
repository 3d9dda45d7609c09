"""DLStudio: its weights, its files, and the floors of its output layer."""
