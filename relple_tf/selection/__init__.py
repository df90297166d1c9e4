"""Which samples to send to the laboratory, chosen by their scans."""

from relple_tf.selection.selecting import Selection, select

__all__ = ["Selection", "select"]
