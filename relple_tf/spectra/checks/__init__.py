"""Checks of scans and laboratory values before training and prediction."""
