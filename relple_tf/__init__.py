"""RS-PLE for soil spectra: one Keras model from a raw near-infrared scan to laboratory values."""

__version__ = "0.1.0"
