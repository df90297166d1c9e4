"""Spectral libraries by name: measured, simulated, and out-of-domain scans."""
