"""Networks and baselines on the same soils, many times."""
