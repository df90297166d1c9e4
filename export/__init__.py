"""Device files from a run. Only this package imports tf_keras, TFMOT and the TensorFlow Lite converter."""
