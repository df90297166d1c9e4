"""Part of every row: from the split file of the config, as the library declares it, or drawn at random."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from relple_tf.config import Config
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.tables import read_parts
from relple_tf.spectra.splitting.split import split


def divide(library: SpectralLibrary, config: Config) -> tuple[npt.NDArray[np.str_], tuple[str, ...]]:
    """Part of every row from the split file, the library or a random draw; and notes for the reader of the scores."""
    if not config.split.file:
        return split(library, config.split, config.training.seed)
    declared, note = read_parts(Path(config.split.file), library.ids, config.limits)
    parts, notes = split(library, config.split, config.training.seed, declared)
    return parts, (note, *notes)
