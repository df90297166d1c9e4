"""Search over configs: the only room that imports keras_tuner and ray."""
