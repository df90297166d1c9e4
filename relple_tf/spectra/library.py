"""The spectral library: spectra with laboratory values, validated once by the readers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.errors import InputError
from relple_tf.spectra.checks.finding import CheckResult
from relple_tf.spectra.readers.table_file import shortened

Floats = npt.NDArray[np.float32]

QUANTITIES = ("reflectance", "absorbance")
"""`reflectance` is 0..1 (1 is a white reference); `absorbance` is log10(1/R)."""

REFLECTANCE_RANGE = (0.0, 1.5)
ABSORBANCE_RANGE = (-0.2, 6.0)
"""log10(1/R): from a scan slightly brighter than its white reference to the 20-bit range of a detector."""

FEATURE_RANGE = (-1e37, 1e37)
"""Numbers whose mean over a thousand columns float32 holds."""

RANGES = {"reflectance": REFLECTANCE_RANGE, "absorbance": ABSORBANCE_RANGE, "features": FEATURE_RANGE}
"""`features` are numbers that `SoilRegressor` receives; no file and no instrument gives them."""

HIGHEST = {"pH": 14.0, "pct": 100.0, "g_kg": 1000.0, "cmolc_kg": 1000.0, "mg_kg": 1e6}
"""Unit suffix of a target name -> highest possible value; the lowest is 0. Other units are not checked."""

HIGHEST_DEGREES = (180.0, 90.0)
"""Highest longitude and latitude; the lowest have the opposite sign."""

FLATTEST_ABSORBANCE = 1e-4
"""A scan with a smaller range of absorbance is constant: detector noise is larger, and soils span tenths."""

REFLECTANCE_FLOOR = 1e-4
"""Lower reflectance is set to this value: absorbance 4, where handheld detectors measure only noise."""


@dataclass(frozen=True, kw_only=True)
class SpectralLibrary:
    """Soil spectra, one row per scan, with their laboratory values.

    Readers call `checked`, so later code does not validate again.
    """

    source: str
    """Origin: `limesoda`, `simulated` or a path. Written to the run, the card and the report."""
    spectra: npt.NDArray[np.float32]
    """(n, bands), finite, in the unit of `quantity`."""
    wavelengths_nm: npt.NDArray[np.float64]
    """(bands,), ascending."""
    quantity: str
    """One of QUANTITIES."""
    targets: dict[str, npt.NDArray[np.float64]]
    """Target name with its unit (`OC_g_kg`) -> (n,) laboratory values; NaN where not measured."""
    ids: npt.NDArray[np.str_]
    """(n,) names of samples or scans, as written; equal ids are scans of one sample."""
    groups: npt.NDArray[np.str_] | None = None
    """(n,) field, profile or site; rows with equal values form a group, which no split divides. None: ungrouped."""
    coordinates: npt.NDArray[np.float64] | None = None
    """(n, 2) longitude and latitude in degrees, both NaN where missing; None: no row has coordinates."""
    parts: npt.NDArray[np.str_] | None = None
    """(n,) `train`, `validation` or `test` as declared by the data; None: no declared split."""
    notes: tuple[str, ...] = field(default=())
    """Conversions, sorting and assumptions of the reader, one sentence each; commands print them."""
    warnings: tuple[str, ...] = field(default=())
    """Doubts about the data, one sentence each; commands print them, and card and report repeat them."""
    dropped: tuple[tuple[str, str, str], ...] = field(default=())
    """Rows of the source that were dropped because their scan cannot be a soil: name of the row, declared part (empty:
    none is declared), reason."""
    checks: tuple[CheckResult, ...] = field(default=())
    """The checks that ran on the source; built-in sources and arrays have none."""
    samples: npt.NDArray[np.str_] | None = None
    """(n,) label of the sample of each scan, where `ids` are names of scans; rows with equal labels form a sample,
    which no split divides. None: equal ids are scans of one sample."""
    scans: npt.NDArray[np.str_] | None = None
    """(n,) names of the scans, where the source has a column of scans beside the column of samples. None: no such
    column."""
    row_numbers: npt.NDArray[np.intp] | None = None
    """(n,) number of each row in the source, from 1, for messages; None: 1 to n."""

    @classmethod
    def from_arrays(
        cls,
        spectra: npt.ArrayLike,
        targets: Mapping[str, npt.ArrayLike],
        *,
        wavelengths_nm: npt.ArrayLike,
        quantity: str = "reflectance",
        sample_ids: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
        source: str = "arrays",
        check_spectra: bool = True,
    ) -> "SpectralLibrary":
        """Make a library of arrays.

        Args:
            spectra: (n, n_bands) scans.
            targets: Target name with its unit (`OC_g_kg`) -> (n,) laboratory values, NaN where not measured.
            wavelengths_nm: (n_bands,) in nm; sorted ascending here, without duplicates.
            quantity: `reflectance` (0..1) or `absorbance` (log10(1/R)).
            sample_ids: (n,) text or integers; rows of equal id are scans of one sample. None numbers the rows and links
                those with equal laboratory values and nearly equal spectra (`relple_tf.spectra.samples`).
            groups: (n,) text or integers: fields, profiles or sites that no split divides.
            source: Origin of the data, for the card and the report.
            check_spectra: Whether to check that the spectra are raw scans of soils; `False` for other spectra, and
                where the wavelengths are not known.

        Raises:
            InputError: a length does not match, a name or wavelength occurs twice, a value is impossible, or the
                spectra are not raw scans in this quantity.
        """
        scans = _numbers(spectra, "spectra")
        nm = _numbers(wavelengths_nm, "wavelengths_nm")
        if scans.ndim != 2 or nm.ndim != 1 or scans.shape[1] != len(nm):
            raise InputError(
                f"{source}: expected spectra (n, n_bands) and wavelengths_nm (n_bands,); received {scans.shape} and "
                f"{nm.shape}"
            )
        order = np.argsort(nm, kind="stable")
        if (twice := np.flatnonzero(np.diff(nm[order]) == 0)).size:
            raise InputError(
                f"{source}: wavelengths_nm: expected each wavelength once; {nm[order][twice[0]]:g} nm occurs twice"
            )
        values = {str(name): _numbers(column, str(name)) for name, column in targets.items()}
        if len(values) != len(targets):
            raise InputError(f"{source}: targets: expected each name once; received {', '.join(map(str, targets))}")
        ids = np.arange(1, len(scans) + 1).astype(str) if sample_ids is None else _labels(sample_ids, "sample_ids")
        labels = None if groups is None else _labels(groups, "groups")
        columns = {**values, "sample_ids": ids, **({} if labels is None else {"groups": labels})}
        for name, column in columns.items():
            if column.shape != (len(scans),):
                raise InputError(f"{source}: {name}: expected shape ({len(scans)},); received {column.shape}")
        with np.errstate(over="ignore"):  # becomes infinite, which `checked` refuses
            narrow = scans[:, order].astype("float32")
        library = cls(
            source=source,
            spectra=narrow,
            wavelengths_nm=nm[order],
            quantity=quantity,
            targets=values,
            ids=ids,
            groups=labels,
        ).checked()
        if check_spectra:
            from relple_tf.spectra.checks.arrays import check_arrays

            library = replace(library, warnings=check_arrays(library))
        if sample_ids is not None:
            return library
        from relple_tf.spectra.samples import link_samples

        return link_samples(library)

    @classmethod
    def from_table(cls, path: str | Path, **settings: Any) -> "SpectralLibrary":
        """Read a table of scans with laboratory values.

        Args:
            path: CSV (also .gz) or Parquet, or a folder of scans; or `limesoda`, 1,070 real soils, or `simulated`.
            settings: Fields of `relple_tf.config.DataConfig`, such as `targets=("OC_g_kg",)`, `group_column="field"` or
                `lab="lab.csv"`, a table of laboratory values that is joined by the name of the sample.

        Raises:
            InputError: the table is unsound.
        """
        from relple_tf.config import Config, changed
        from relple_tf.spectra.sources.named import load

        return load(changed(Config(), {"data": {**settings, "source": str(path)}}))

    def __len__(self) -> int:
        return len(self.spectra)

    @property
    def sample_labels(self) -> npt.NDArray[np.str_]:
        """(n,) rows with equal labels are scans of one sample: `samples`, or `ids` where these name the samples."""
        return self.ids if self.samples is None else self.samples

    @property
    def name_columns(self) -> dict[str, npt.NDArray[np.str_]]:
        """Columns that name the rows in outputs: `id`, `sample` where it differs, `scan` where the source has names."""
        columns = {"id": self.ids, "sample": self.samples, "scan": self.scans}
        return {name: labels for name, labels in columns.items() if labels is not None}

    @property
    def size(self) -> str:
        """Number of rows as text: `825 soils`, or `825 scans of 770 samples`."""
        samples = len(np.unique(self.sample_labels))
        return f"{len(self)} soils" if samples == len(self) else f"{len(self)} scans of {samples} samples"

    @property
    def values(self) -> pd.DataFrame:
        """(n, n_targets) laboratory values as a DataFrame, one column per target; NaN where not measured."""
        return pd.DataFrame(self.targets)

    @property
    def doubts(self) -> tuple[str, ...]:
        """The warnings, and the scans that the reader dropped, with their number and, if declared, their parts."""
        if not self.dropped:
            return self.warnings
        parts = Counter(part for _, part, _ in self.dropped if part)
        by_part = f" ({', '.join(f'{count} {part}' for part, count in parts.items())})" if parts else ""
        count = "1 scan was" if len(self.dropped) == 1 else f"{len(self.dropped)} scans were"
        head = f"{count} dropped{by_part}; --set data.bad_scans=refuse refuses the source instead"
        return (*self.warnings, head, *(reason for _, _, reason in self.dropped))

    def row_name(self, row: int) -> str:
        """Number in the source and id of a row (counted from 0), for messages; the id alone may not be unique."""
        number = row + 1 if self.row_numbers is None else self.row_numbers[row]
        return f"row {number} ({shortened(str(self.ids[row]))})"

    def rows(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "SpectralLibrary":
        """A library with these rows only."""
        return replace(
            self,
            spectra=self.spectra[index],
            targets={name: values[index] for name, values in self.targets.items()},
            ids=self.ids[index],
            groups=None if self.groups is None else self.groups[index],
            coordinates=None if self.coordinates is None else self.coordinates[index],
            parts=None if self.parts is None else self.parts[index],
            samples=None if self.samples is None else self.samples[index],
            scans=None if self.scans is None else self.scans[index],
            row_numbers=(np.arange(1, len(self) + 1) if self.row_numbers is None else self.row_numbers)[index],
        )

    def checked(self) -> "SpectralLibrary":
        """Return this library if it is valid: finite possible values, ascending wavelengths, no constant spectrum.

        Raises:
            InputError: a value is impossible; the message names the row (with its id) and the band, target or
                coordinate.
        """
        if not len(self.spectra):
            raise InputError(f"{self.source}: no rows; a spectral library needs at least one scan")
        if self.quantity not in RANGES:
            raise InputError(f"{self.source}: expected quantity {' or '.join(RANGES)}, got {self.quantity!r}")
        if self.spectra.shape[1] != len(self.wavelengths_nm):
            raise InputError(f"{self.source}: {self.spectra.shape[1]} bands but {len(self.wavelengths_nm)} wavelengths")
        if np.any(np.diff(self.wavelengths_nm) <= 0):
            raise InputError(f"{self.source}: wavelengths are not strictly ascending; sort them and drop duplicates")
        self._check_spectra()
        self._check_targets()
        self._check_coordinates()
        return self

    def _check_spectra(self) -> None:
        bad = np.flatnonzero(impossible_scans(self.spectra.min(axis=1), self.spectra.max(axis=1), self.quantity))
        if not bad.size:
            return
        row, (low, high) = bad[0], RANGES[self.quantity]
        spectrum = self.spectra[row]
        for band in np.flatnonzero(~((spectrum >= low) & (spectrum <= high)))[:1]:
            value = f"{self.source}: {self.row_name(row)} is {spectrum[band]:g} at {self.wavelengths_nm[band]:g} nm"
            if not np.isfinite(spectrum[band]):
                raise InputError(f"{value}; remove the scan or the band")
            raise InputError(
                f"{value}, outside {low:g}..{high:g} for {self.quantity}; remove the scan or declare the other "
                "quantity with --set data.quantity=..."
            )
        raise InputError(
            f"{self.source}: {self.row_name(row)} is constant ({spectrum[0]:g} at {self.wavelengths_nm[0]:g} nm and "
            "nearly the same at all bands), which is impossible for a soil; remove the scan"
        )

    def _check_targets(self) -> None:
        for name, values in self.targets.items():
            impossible = np.isinf(values)
            for unit, highest in HIGHEST.items():
                if name == unit or name.endswith(f"_{unit}") or (unit == "pH" and name.startswith("pH_")):
                    impossible |= (values < 0) | (values > highest)
            if (bad := np.flatnonzero(impossible)).size:
                raise InputError(
                    f"{self.source}: {name} of {self.row_name(bad[0])} is {values[bad[0]]:g}, an impossible "
                    "value; correct it or leave the cell empty"
                )

    def _check_coordinates(self) -> None:
        if self.coordinates is None:
            return
        if self.coordinates.shape != (len(self), 2):
            raise InputError(
                f"{self.source}: expected coordinates of shape {(len(self), 2)}, longitude and latitude of every row; "
                f"got {self.coordinates.shape}"
            )
        possible = (np.abs(self.coordinates) <= HIGHEST_DEGREES).all(axis=1)
        if (bad := np.flatnonzero(~possible & ~np.isnan(self.coordinates).all(axis=1))).size:
            longitude, latitude = self.coordinates[bad[0]]
            raise InputError(
                f"{self.source}: {self.row_name(bad[0])} lies at longitude {longitude:g}, latitude {latitude:g}; "
                "expected degrees within -180..180 and -90..90, or NaN for both where either is missing"
            )


def _numbers(values: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    """An array of float64."""
    try:
        return np.asarray(values, dtype="float64")
    except (TypeError, ValueError):
        raise InputError(
            f"{name}: expected numbers; received {np.asarray(values, dtype=object).dtype} values"
        ) from None


def _labels(values: npt.ArrayLike, name: str) -> npt.NDArray[np.str_]:
    """Labels as text; a missing label would make one sample of all rows without label."""
    labels = np.asarray(values)
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.round(labels)).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "USOiub":
        raise InputError(f"{name}: expected text or integers; received {labels.dtype}")
    missing = [label is None or label != label or label == "" for label in labels.ravel().tolist()]
    if any(missing):
        raise InputError(f"{name}: expected a label for every row; row {missing.index(True) + 1} has none")
    return labels.astype(str)


def impossible_scans(lowest: Floats, highest: Floats, quantity: str) -> npt.NDArray[np.bool_]:
    """Flag scans that cannot be a soil: a value is not finite or out of range, or the scan is constant.

    Args:
        lowest: (n,) smallest value of each scan.
        highest: (n,) largest value of each scan.
        quantity: One of QUANTITIES.

    Returns:
        (n,) true where the scan is impossible.
    """
    low, high = RANGES[quantity]
    possible = (lowest >= low) & (highest <= high)  # false where NaN
    if quantity == "features":
        impossible: npt.NDArray[np.bool_] = ~possible
        return impossible
    if quantity == "reflectance":
        lowest, highest = (-np.log10(np.maximum(ends, REFLECTANCE_FLOOR)) for ends in (highest, lowest))
    with np.errstate(invalid="ignore"):  # inf - inf
        flat = highest - lowest < FLATTEST_ABSORBANCE
    impossible = ~possible | flat
    return impossible
