"""Conventional calibration methods (PLSR, SVR, extra trees, Cubist), fitted on the same rows as the network."""
