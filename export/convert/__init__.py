"""From a trained model to .tflite files."""
