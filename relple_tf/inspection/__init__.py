"""Inspection of a source before training: facts, checks and pictures of a spectral library; imports no Keras."""
