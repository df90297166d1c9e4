"""Read the files that instruments write: one module per format, listed in `registry.FORMATS`."""
