"""Sensor profiles: grid, resolution and quantity."""
