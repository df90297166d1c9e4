"""What a spectroscopist would use otherwise, fitted on the same rows."""
