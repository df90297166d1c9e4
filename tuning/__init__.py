"""Hyperparameter search over configs. The only package that imports keras_tuner and ray."""
