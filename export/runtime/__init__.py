"""Python code that is copied into every bundle and runs on the device."""
