"""Repeated comparison of networks and baselines on the same soils."""
