"""The folder that an embedded engineer receives."""
