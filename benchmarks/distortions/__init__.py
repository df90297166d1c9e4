"""Distorted scans, and the errors of a model that are flagged."""
