"""The bundle: the folder with all that a device needs to run a model."""
