"""Evaluation of a fitted model: metrics, outliers, wavelength importance, gate weights, recommendations."""
