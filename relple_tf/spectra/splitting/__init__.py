"""Division of rows into training, validation and test parts, and into folds."""
