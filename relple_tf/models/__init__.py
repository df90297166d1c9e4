"""Layers and networks.

Public: the builders `rs_ple`, `ple`, `cgc`, `mmoe`, `shared_bottom` and `single_task`. The modules of the same names
define the architectures; importing `builders` here, after them, gives the names of this package to the functions.
"""

from relple_tf.models.builders import cgc, mmoe, ple, rs_ple, shared_bottom, single_task

__all__ = ["cgc", "mmoe", "ple", "rs_ple", "shared_bottom", "single_task"]
