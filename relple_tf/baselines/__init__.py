"""Conventional calibration methods, fitted on the same rows as the network."""
