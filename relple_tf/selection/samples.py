"""One row per sample, in an order that does not depend on the order of the table."""

from dataclasses import replace

import numpy as np

from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.replicates import average_replicates

SEPARATOR = "; "
"""Between the names of the scans of a sample."""


def one_row_per_sample(library: SpectralLibrary) -> SpectralLibrary:
    """Average the scans of each sample, and sort the samples by their spectra.

    The result of a selection then depends on the order of the rows only where the scans of two samples are equal to the
    last digit.

    Returns:
        A row per sample; `ids` are the labels of the samples, `scans` the names of all their scans, if the library has
        names of scans. Without laboratory values.

    Raises:
        InputError: the scans of a sample are in two groups.
    """
    keys = [spectrum.tobytes() for spectrum in library.spectra]
    order = sorted(range(len(library)), key=lambda row: (keys[row], str(library.ids[row])))
    library = replace(library.rows(np.array(order)), targets={}, parts=None)
    labels = library.sample_labels
    _check_groups(library)
    averaged = average_replicates(library) if len(np.unique(labels)) < len(labels) else library
    if library.scans is not None:
        names: dict[str, list[str]] = {}
        for label, scan in zip(labels.tolist(), library.scans.tolist(), strict=True):
            names.setdefault(label, []).append(scan)
        joined = [SEPARATOR.join(sorted(filter(None, scans))) for scans in names.values()]
        averaged = replace(averaged, scans=np.array(joined, dtype=str))
    return averaged


def _check_groups(library: SpectralLibrary) -> None:
    """Raise InputError if the scans of a sample are in two groups."""
    if library.groups is None:
        return
    group_of: dict[str, str] = {}
    for label, group in zip(library.sample_labels.tolist(), library.groups.tolist(), strict=True):
        if (first := group_of.setdefault(label, group)) != group:
            raise InputError(
                f"{library.source}: expected the scans of sample {label} in one group, received {first!r} and "
                f"{group!r}; correct the groups or give each sample a different id"
            )
