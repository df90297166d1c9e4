"""Read and check files that may be damaged or hostile, and check the paths of outputs."""
