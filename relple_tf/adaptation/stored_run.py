"""A run as its folder holds it, and the local soils, read as the run read its library."""

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from relple_tf.artefacts.reading import LARGEST_JSON_BYTES, read_bytes, readable
from relple_tf.config import Config
from relple_tf.errors import InputError
from relple_tf.models.deployed import KernelPart, LocalPart, deployed_model
from relple_tf.models.target_scaling import TargetScale
from relple_tf.runs.card_schema import CARD, run_card
from relple_tf.runs.folder import CONFIG, REMEDY, RunFolder, read_config
from relple_tf.runs.model_loading import load_model
from relple_tf.runs.stored_data import DATA, load_data
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.laboratory_columns import NoLaboratoryValuesError
from relple_tf.spectra.readers.laboratory_names import TARGETS
from relple_tf.spectra.sources.named import load
from relple_tf.training.intervals import Interval

SAME_SCAN = 1e-4
"""Scans whose reflectances differ by less at every band are the same scan: more than the rounding of a table, less than
the noise of an instrument."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredRun:
    """A run as its folder holds it."""

    folder: Path
    config: Config
    card: dict[str, Any]
    model: keras.Model
    library: SpectralLibrary
    parts: npt.NDArray[np.str_]

    @property
    def scales(self) -> tuple[TargetScale, ...]:
        """Scale of each target."""
        scales: tuple[TargetScale, ...] = self.model.get_layer("target_scaling").scales
        return scales

    def interval(self, name: str) -> Interval | None:
        """Interval of a target; None if the run has none."""
        entry = self.card["targets"][name]["interval"]
        return None if entry is None else Interval(**{field.name: entry[field.name] for field in fields(Interval)})


def read_local(run_folder: Path, source: str, lab: str) -> SpectralLibrary:
    """Read local soils as the run read its library, but on their own wavelengths.

    Args:
        run_folder: Folder of the run.
        source: Table, instrument file or folder of scans, as `--data` of `relple_tf.train`.
        lab: Table of laboratory values; empty: the source holds them.

    Raises:
        InputError: the folder is not a complete run, or the source is invalid or has no target of the run.
    """
    folder = RunFolder(path=run_folder)
    folder.verify()
    config = read_config(run_folder / CONFIG)
    card = run_card(read_bytes(run_folder / CARD, REMEDY, LARGEST_JSON_BYTES), run_folder / CARD)
    data = dataclasses.replace(config.data, source=source, lab=lab, sensor="", targets=(), group_column="")
    others = tuple(name for name in card["targets"] if name not in TARGETS)

    def read(*names: str) -> SpectralLibrary:
        return load(dataclasses.replace(config, data=dataclasses.replace(data, targets=names)), select=False)

    try:
        local = read()
    except NoLaboratoryValuesError:
        if not others:
            raise
        with suppress(InputError):
            return read(*others)
        local = read(others[0])
    # All at once; one by one if the source lacks some of them.
    for names in (others, *((name,) for name in others)):
        if not set(names) <= set(local.targets):
            with suppress(InputError):
                local = dataclasses.replace(local, targets=local.targets | read(*names).targets)
    return local


def read_run(run_folder: Path) -> StoredRun:
    """Read a run with its model and stored data.

    Raises:
        InputError: the folder is not a complete run, is damaged, or holds no data.
    """
    RunFolder(path=run_folder).verify()
    card = run_card(read_bytes(run_folder / CARD, REMEDY, LARGEST_JSON_BYTES), run_folder / CARD)
    library, parts = load_data(run_folder / DATA)
    run = StoredRun(
        folder=run_folder,
        config=read_config(run_folder / CONFIG),
        card=card,
        model=load_model(run_folder / "model.keras", card),
        library=library,
        parts=parts,
    )
    with readable(run_folder / "model.keras", REMEDY):
        names = [scale.name for scale in run.scales]
        if names != list(card["targets"]):
            raise ValueError(f"expected targets {', '.join(card['targets'])}, received {', '.join(names)}")
        rebuilt(run)  # fails if a layer is missing, or the network is not that of the config
    return run


def rebuilt(
    run: StoredRun,
    *,
    absorbance: keras.Model | None = None,
    scales: Sequence[TargetScale] = (),
    local: Sequence[LocalPart] = (),
) -> keras.Model:
    """The deployed model of a run with changed parts; the others are shared.

    Args:
        run: The run.
        absorbance: Another absorbance stage.
        scales: Other scales of all targets.
        local: Adaptations that act after those of the run.
    """
    full = run.model.get_layer(run.config.model.architecture)
    return deployed_model(
        run.model.get_layer("absorbance_stage") if absorbance is None else absorbance,
        run.model.get_layer("channel_stage"),
        keras.Model(full.input, full.output[0], name=full.name),
        scales or run.scales,
        run.model.get_layer("domain_statistics"),
        KernelPart.of(run.model),
        (*LocalPart.all_of(run.model), *local),
    )


def refuse_known_scans(run: StoredRun, local: SpectralLibrary) -> None:
    """The run was fitted on its library, so these soils would seem to be estimated without error."""
    stored, scans = (
        library.spectra if library.quantity == "reflectance" else 10.0**-library.spectra
        for library in (run.library, local)
    )
    known = [
        local.row_name(row) for row, scan in enumerate(scans) if np.abs(stored - scan).max(axis=1).min() < SAME_SCAN
    ]
    if known:
        raise InputError(
            f"{local.source}: expected soils that are not in the library of {run.folder}; {len(known)} of {len(local)} "
            f"scans are, such as {known[0]}; leave them out"
        )
