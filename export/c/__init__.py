"""C99 and C++ sources of a model; their text is in `templates/`."""
