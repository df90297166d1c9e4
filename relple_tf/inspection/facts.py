"""What the readers found in a source: facts, statistics of the targets, copies and distances of the scans."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.evaluation.formatting import digits, unit
from relple_tf.inspection.distances import Distances, score_distances
from relple_tf.spectra.checks.scans import QUANTITY_CHECK
from relple_tf.spectra.library import SpectralLibrary

NAMED = 5
"""Rows named in a fact, and farthest scans shown."""
QUANTITY_NAMES = {"absorbance": "absorbance log10(1/R)", "reflectance": "reflectance (0 to 1)"}
SAME_STEP = 1e-3
"""Relative range of the steps of an even grid; names of bands are rounded."""
WITHOUT_VALUES = (
    "training needs laboratory values: columns such as OC_g_kg or pH in the table, or --lab with a table that has them"
)
STATISTICS = ("n", "missing", "minimum", "median", "maximum")


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """A library before training. Names of rows are those of messages: `row 12 (S7)`."""

    library: SpectralLibrary
    command: str
    """Command that trains on this source; empty without laboratory values."""
    no_values: str = ""
    """Why there are no laboratory values; empty if there are some."""

    @property
    def doubts(self) -> list[str]:
        """Warnings and dropped rows, without the name of the source before each."""
        return [doubt.removeprefix(f"{self.library.source}: ") for doubt in self.library.doubts]

    @cached_property
    def facts(self) -> dict[str, str]:
        """Name -> text."""
        library = self.library
        dropped = f"{len(library.dropped)} rows, see Check the data" if library.dropped else "none"
        return {
            "Source": library.source,
            "Scans": f"{len(library)}",
            "Samples": self._samples(),
            "Equal scans": self._copies(),
            "Dropped": dropped,
            "Groups": _labels(library.groups, "groups of {} rows"),
            "Declared split": _parts(library.parts),
            "Coordinates": _coordinates(library.coordinates),
            "Wavelengths": _wavelengths(library.wavelengths_nm),
            "Quantity": self._quantity(),
        }

    @cached_property
    def targets(self) -> pd.DataFrame:
        """Target -> STATISTICS; missing counts the rows without a value."""
        rows = {}
        for name, values in self.library.targets.items():
            measured = values[np.isfinite(values)]
            ends = (measured.min(), np.median(measured), measured.max())
            rows[name] = (len(measured), len(values) - len(measured), *ends)
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(STATISTICS))

    @cached_property
    def target_texts(self) -> dict[str, tuple[str, ...]]:
        """Target -> its unit, and STATISTICS with four digits."""
        return {
            str(row.Index): (
                unit(str(row.Index)) or "none",
                f"{row.n}",
                f"{row.missing}",
                *(digits(value, 4) for value in (row.minimum, row.median, row.maximum)),
            )
            for row in self.targets.itertuples()
        }

    @cached_property
    def correlations(self) -> pd.DataFrame:
        """Pearson correlation of each pair of targets over the rows with both values; NaN with fewer than three."""
        return self.library.values.corr(min_periods=3)

    @cached_property
    def distances(self) -> Distances | None:
        """Distances of the scans; None if there are too few."""
        return score_distances(self.library)

    @property
    def farthest(self) -> dict[int, float]:
        """Row -> distance of the farthest scans, in descending order."""
        distances = self.distances
        return {} if distances is None else {row: float(distances.values[row]) for row in distances.farthest(NAMED)}

    @cached_property
    def copies(self) -> list[tuple[int, int]]:
        """Rows whose spectrum is exactly that of an earlier row, with this row."""
        first: dict[bytes, int] = {}
        pairs = []
        for row, spectrum in enumerate(np.ascontiguousarray(self.library.spectra)):
            earlier = first.setdefault(hashlib.blake2b(spectrum, digest_size=16).digest(), row)
            if earlier != row:
                pairs.append((row, earlier))
        return pairs

    def _samples(self) -> str:
        _, counts = np.unique(self.library.sample_labels, return_counts=True)
        repeated = counts[counts > 1]
        if not repeated.size:
            return f"{len(counts)}, one scan each"
        scans = _span(int(repeated.min()), int(repeated.max()))
        return f"{len(counts)}; {len(repeated)} with {scans} scans, which no split divides"

    def _copies(self) -> str:
        if not self.copies:
            return "none"
        name = self.library.row_name
        named = ", ".join(f"{name(row)} equals {name(earlier)}" for row, earlier in self.copies[:NAMED])
        more = f" and {len(self.copies) - NAMED} more" if len(self.copies) > NAMED else ""
        return f"{named}{more}"

    def _quantity(self) -> str:
        reason = next((check.decision for check in self.library.checks if check.name == QUANTITY_CHECK), "")
        name, prefix = QUANTITY_NAMES[self.library.quantity], f"the spectra are {self.library.quantity}"
        if reason.startswith(prefix):
            return f"{name}{reason.removeprefix(prefix)}"
        return f"{name}; as read, {reason}" if reason else name


def table_lines(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table as lines of text: the first column to the left, the others to the right."""
    lines = (heading, *rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        (first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)))
        for first, *cells in lines
    )
    return ["  ".join(cells).rstrip() for cells in padded]


def _span(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _labels(labels: npt.NDArray[np.str_] | None, text: str) -> str:
    """Number of distinct labels, and the numbers of their rows."""
    if labels is None:
        return "none"
    _, counts = np.unique(labels, return_counts=True)
    return f"{len(counts)} {text.format(_span(int(counts.min()), int(counts.max())))}"


def _parts(parts: npt.NDArray[np.str_] | None) -> str:
    if parts is None:
        return "none"
    counts = {part: int(np.sum(parts == part)) for part in ("train", "validation", "test")}
    return ", ".join(f"{count} {part}" for part, count in counts.items() if count)


def _coordinates(coordinates: npt.NDArray[np.float64] | None) -> str:
    count = 0 if coordinates is None else int(np.isfinite(coordinates).all(axis=1).sum())
    return f"{count} rows" if count else "none"


def _wavelengths(nm: npt.NDArray[np.float64]) -> str:
    """Range, number of bands and spacing."""
    step_nm, step_per_cm = np.diff(nm), -np.diff(1e7 / nm)
    for step, unit_name in ((step_nm, "nm"), (step_per_cm, "cm-1")):
        if np.ptp(step) <= SAME_STEP * np.median(step):
            spacing = f"step {np.median(step):.4g} {unit_name}"
            break
    else:
        spacing = f"uneven steps of {step_nm.min():.3g} to {step_nm.max():.3g} nm, median {np.median(step_nm):.3g} nm"
    return f"{nm[0]:g} to {nm[-1]:g} nm, {len(nm)} bands, {spacing}"
