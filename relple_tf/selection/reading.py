"""Read the scans to select from."""

from dataclasses import replace
from pathlib import Path

from relple_tf.config import Config
from relple_tf.selection.calibrated_run import CalibratedRun
from relple_tf.spectra.checks.quantity import Declared
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.tables import read_scans


def read_candidates(path: Path, group_column: str = "", run: CalibratedRun | None = None) -> SpectralLibrary:
    """Read scans as `python -m relple_tf.predict` reads them, with groups.

    Args:
        path: Table or folder of scans.
        group_column: Column of the groups; empty reads none.
        run: The run whose id column, quantity, scale and limits are used where the table does not state others.

    Raises:
        InputError: the file or a band is invalid, there is no such column, or no scan can be a soil.
    """
    config = run.config if run else Config()
    declared = Declared()
    if run:
        declared = Declared(fallback=run.card["input"]["quantity"], model_scale=run.config.data.scale)
    data = replace(Config().data, id_column=config.data.id_column, samples=config.data.samples)
    return read_scans(path, replace(data, group_column=group_column), config.limits, declared)
