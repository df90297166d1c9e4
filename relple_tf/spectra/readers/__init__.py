"""Read files into a spectral library."""
