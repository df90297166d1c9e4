"""The run folder: its files, and how they are written, checked and read."""
