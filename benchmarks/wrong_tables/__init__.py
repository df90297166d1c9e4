"""Wrong spectral tables, and the share of them that the reader detects."""
