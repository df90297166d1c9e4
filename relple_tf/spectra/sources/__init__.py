"""Spectral libraries by name: real, simulated, and scans that are no soils."""
