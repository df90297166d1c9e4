"""From files to a spectral library."""
