"""Fitting a network: joint loss, its weights, the loop, the run folder."""
