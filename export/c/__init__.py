"""C99 sources of a model."""
