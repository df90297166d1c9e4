"""Spectral libraries: readers, sources, sensors and splits. NumPy, SciPy and pandas, no Keras."""
