"""How good a calibration is, beside what a spectroscopist would use otherwise."""
