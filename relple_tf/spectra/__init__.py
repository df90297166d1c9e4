"""Before the network: spectral libraries, their tables and splits. NumPy, SciPy and pandas, no Keras."""
