"""Adaptation of a run to another field or instrument by local soils with laboratory values."""
