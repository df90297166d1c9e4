"""Predictions of scans by a run or a bundle."""
