"""Training: losses, balancing strategies, training loop, cross-fitting, stacking, prediction intervals."""
