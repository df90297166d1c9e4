"""Sensors: grid, resolution and quantity."""
