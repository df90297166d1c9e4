"""RS-PLE for soil spectra: a raw near-infrared scan in, laboratory values out, in one Keras graph."""

__version__ = "0.1.0"
