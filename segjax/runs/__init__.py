"""What a run leaves on disk: its folder, its log, its checkpoints."""
