"""A float32 .tflite as a list of operators, from which C and JavaScript are generated."""
