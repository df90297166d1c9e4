"""Select the samples of a library of scans that the laboratory should measure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import cdist

from relple_tf.errors import InputError
from relple_tf.prediction.runs import to_model_input
from relple_tf.selection.allocation import allocate
from relple_tf.selection.calibrated_run import CalibratedRun
from relple_tf.selection.methods import METHODS
from relple_tf.selection.samples import one_row_per_sample
from relple_tf.selection.view_scores import fitted_scores
from relple_tf.spectra.library import SpectralLibrary

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

CLOSE = 1.0
"""A sample is close to the calibration set of a run if its distance is at most this number of typical distances between
neighbours in that set (`CalibratedRun.neighbour_distance`)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """The selected samples, and what a picture of them needs."""

    table: pd.DataFrame
    """A row per selected sample, in the order of the list: `id`; `scan` if the library has names of scans; `order` from
    1; `group` if the selection is spread over groups; `reason`; `represents`, the number of candidates whose nearest
    selected sample this is; `distance` of its scores to those of the nearest other selected sample. With a run
    also `calibration_distance`, to the nearest soil of the run in units of the typical distance between neighbours
    there, `status`, and, if the run has intervals, `widest_interval` in SD of the laboratory values of
    `widest_target`."""
    scores: Floats
    """(n, components) of all samples."""
    rows: Indices
    """(count,) rows of `scores` that are selected, as in `table`."""
    passed_over: npt.NDArray[np.bool_]
    """(n,) true for samples that could not be selected: close to the calibration set, or status invalid."""
    calibration_scores: Floats
    """(m, components) of the soils of the run; m is 0 without a run."""
    notes: tuple[str, ...]
    """What was averaged, converted and passed over, one sentence each."""


def select(
    library: SpectralLibrary,
    count: int,
    *,
    run: str | Path | CalibratedRun | None = None,
    by_group: bool = False,
    method: str = "k_medoids",
    seed: int = 0,
) -> Selection:
    """Select the samples whose laboratory values would improve a calibration most, judged by their scans.

    The scans of a sample are averaged, so that no sample is selected twice. Methods compare principal-component scores:
    without a run those of the default front end, fitted on the scans; with a run those that its model computes. With a
    run, samples close to its soils (`CLOSE`) are passed over, and of the others in each group the half with the
    wider prediction intervals is used (more if `count` needs more). With groups, the count is divided in
    proportion to their samples that are not passed over (`allocate`), and the method selects within each group.

    Args:
        library: Scans; laboratory values are not used.
        count: Number of samples to select, 1 to the number of samples.
        run: Run folder, or an opened run; None: no run.
        by_group: Whether to spread the selection over `library.groups`.
        method: `k_medoids`, `kennard_stone` or `latin_hypercube`; the first had the smallest errors in
            benchmarks/selection.py.
        seed: Seed of latin_hypercube; the other methods use no random numbers.

    Returns:
        The selection; fewer than `count` samples if fewer remain after those that are passed over, with a note.

    Raises:
        InputError: count, method or groups do not fit the library, the run is damaged, the scans do not cover the
            wavelengths of its model, or every sample is passed over.
    """
    _check(library, count, by_group, method)
    samples = one_row_per_sample(library)
    if count > len(samples):
        raise InputError(f"{library.source}: --count: expected 1 to {len(samples)}, its samples; received {count}")
    notes = list(samples.notes[len(library.notes) :])
    assessed, opened = pd.DataFrame(index=range(len(samples))), None
    calibration_scores = np.empty((0, 1))
    if run is None:
        scores, passed_over = fitted_scores(samples), np.zeros(len(samples), bool)
    else:
        opened = run if isinstance(run, CalibratedRun) else CalibratedRun.read(Path(run))
        ready, conversions = to_model_input(samples, opened.card)
        scores, calibration_scores = opened.scores(ready), opened.calibration_scores
        assessed = opened.assess(ready)
        assessed.insert(0, "calibration_distance", opened.distances(scores))
        passed_over, passed_notes = _passed_over(assessed, opened.path)
        notes += [*conversions, *passed_notes]
    candidates = np.flatnonzero(~passed_over)
    if not candidates.size:
        raise InputError(f"{library.source}: expected samples that can be selected, received none: {'; '.join(notes)}")
    if len(candidates) < count:
        notes.append(f"only {len(candidates)} of {count} samples are selected: no others can be")
    groups = samples.groups if by_group and samples.groups is not None else np.full(len(samples), "")
    pools = _pools(groups, candidates, assessed, min(count, len(candidates)))
    chosen = METHODS[method]
    rows = np.concatenate([members[chosen.choose(scores[members], share, seed)] for members, share in pools])
    table = _table(samples, scores, candidates, rows, by_group)
    reasons = [reason for _, share in pools for reason in chosen.reasons(share)]
    table.insert(table.columns.get_loc("represents"), "reason", reasons)
    table = pd.concat([table, assessed.iloc[rows].reset_index(drop=True)], axis=1)
    return Selection(
        table=table,
        scores=scores,
        rows=rows,
        passed_over=passed_over,
        calibration_scores=calibration_scores,
        notes=tuple(notes),
    )


def _check(library: SpectralLibrary, count: int, by_group: bool, method: str) -> None:
    """Raise InputError for arguments that cannot be right for any library of this kind."""
    if count < 1:
        raise InputError(f"--count: expected 1 or more, received {count}")
    if method not in METHODS:
        raise InputError(f"--method: expected one of {', '.join(METHODS)}; received {method!r}")
    if by_group and library.groups is None:
        raise InputError(f"{library.source}: expected groups to spread the selection over, received none")


def _passed_over(assessed: pd.DataFrame, run: Path) -> tuple[npt.NDArray[np.bool_], list[str]]:
    """(n,) true for samples of status invalid and for those close to the calibration set, and a note on each kind."""
    invalid = (assessed["status"] == "invalid").to_numpy()
    close = ~invalid & ~(assessed["calibration_distance"] > CLOSE).to_numpy()
    notes = []
    if count := int(close.sum()):
        notes.append(f"{count} of {len(close)} samples are close to a soil of {run} and are passed over")
    if count := int(invalid.sum()):
        notes.append(f"{count} of {len(close)} samples have status invalid and are passed over")
    return invalid | close, notes


def _pools(
    groups: npt.NDArray[np.str_], candidates: Indices, assessed: pd.DataFrame, count: int
) -> list[tuple[Indices, int]]:
    """Divide a count over the groups (n,) of the candidates.

    Returns:
        For each group that gets samples: the rows to select from, and the number of samples to select.
    """
    names, sizes = np.unique(groups[candidates], return_counts=True)
    shares = allocate(dict(zip(names.tolist(), sizes.tolist(), strict=True)), count)
    pools = []
    for name, share in shares.items():
        members = candidates[groups[candidates] == name]
        if "widest_interval" in assessed:
            members = members[_wider_half(assessed["widest_interval"].to_numpy()[members], share)]
        if share:
            pools.append((members, share))
    return pools


def _wider_half(widths: Floats, count: int) -> Indices:
    """Rows whose width (n,) is at least the median, in ascending order; the `count` widest if these are more."""
    wide = np.flatnonzero(widths >= np.median(widths))
    if len(wide) >= count:
        return wide
    return np.sort(np.argsort(-widths, kind="stable")[:count])


def _table(
    samples: SpectralLibrary, scores: Floats, candidates: Indices, rows: Indices, by_group: bool
) -> pd.DataFrame:
    """The columns of `Selection.table` that need no run, without the reason."""
    columns: dict[str, Sequence[str] | npt.NDArray[np.generic]] = {"id": samples.ids[rows]}
    if samples.scans is not None:
        columns["scan"] = samples.scans[rows]
    columns["order"] = np.arange(1, len(rows) + 1)
    if by_group and samples.groups is not None:
        columns["group"] = samples.groups[rows]
    nearest = np.argmin(cdist(scores[candidates], scores[rows]), axis=1)
    columns["represents"] = np.bincount(nearest, minlength=len(rows))
    between = cdist(scores[rows], scores[rows])
    np.fill_diagonal(between, np.inf)
    columns["distance"] = between.min(axis=1) if len(rows) > 1 else np.full(1, np.nan)
    return pd.DataFrame(columns)
