"""The spectral library: spectra with laboratory values, checked once at the border."""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError

QUANTITIES = ("reflectance", "absorbance")
"""`reflectance` is 0..1 (1 is a white reference); `absorbance` is log10(1/R)."""

REFLECTANCE_RANGE = (0.0, 1.5)
ABSORBANCE_RANGE = (-0.2, 6.0)
"""log10(1/R) of a scan a little brighter than its white reference, up to 20 bits of a detector."""


@dataclass(frozen=True, kw_only=True)
class SpectralLibrary:
    """Soil spectra, one row per scan, with what the laboratory measured on them.

    Readers build it with `checked`, so whoever holds one may trust it.
    """

    source: str
    """Where it comes from: `limesoda`, `simulated` or a path. Stands in the run, the card and the report."""
    spectra: npt.NDArray[np.float32]
    """(n, bands), finite, in the unit of `quantity`."""
    wavelengths_nm: npt.NDArray[np.float64]
    """(bands,), ascending."""
    quantity: str
    """One of QUANTITIES."""
    targets: dict[str, npt.NDArray[np.float64]]
    """Target name with its unit (`OC_g_kg`) -> (n,) laboratory values; NaN where not measured."""
    ids: npt.NDArray[np.str_]
    """(n,) sample identifiers; equal ids are scans of one sample."""
    groups: npt.NDArray[np.str_] | None = None
    """(n,) field, profile or site; no split of ours puts one group into two parts. None: ungrouped."""
    parts: npt.NDArray[np.str_] | None = None
    """(n,) `train`, `validation` or `test` as the data declares it; None where it does not."""
    notes: tuple[str, ...] = field(default=())
    """What a reader turned, sorted or took for granted, one sentence each; commands print them."""

    def __len__(self) -> int:
        return len(self.spectra)

    def rows(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "SpectralLibrary":
        """The library of these rows only."""
        return replace(
            self,
            spectra=self.spectra[index],
            targets={name: values[index] for name, values in self.targets.items()},
            ids=self.ids[index],
            groups=None if self.groups is None else self.groups[index],
            parts=None if self.parts is None else self.parts[index],
        )

    def checked(self) -> "SpectralLibrary":
        """This library, sound: every value finite and possible, wavelengths ascending, no flat spectrum.

        Raises:
            InputError: naming the row (by id) and the band or target that is impossible.
        """
        if not len(self.spectra):
            raise InputError(f"{self.source}: no rows; a spectral library needs at least one scan")
        if self.quantity not in QUANTITIES:
            raise InputError(f"{self.source}: quantity is {self.quantity!r}; it is one of {', '.join(QUANTITIES)}")
        if self.spectra.shape[1] != len(self.wavelengths_nm):
            raise InputError(f"{self.source}: {self.spectra.shape[1]} bands but {len(self.wavelengths_nm)} wavelengths")
        if np.any(np.diff(self.wavelengths_nm) <= 0):
            raise InputError(f"{self.source}: wavelengths are not strictly ascending; sort them and drop duplicates")
        self._check_spectra()
        self._check_targets()
        return self

    def _check_spectra(self) -> None:
        if (bad := np.argwhere(~np.isfinite(self.spectra))).size:
            row, band = bad[0]
            raise InputError(
                f"{self.source}: spectrum {self.ids[row]} is {self.spectra[row, band]} at "
                f"{self.wavelengths_nm[band]:g} nm; remove the scan or the band"
            )
        flat = np.flatnonzero(np.ptp(self.spectra, axis=1) == 0)
        if flat.size:
            raise InputError(
                f"{self.source}: spectrum {self.ids[flat[0]]} is constant ({self.spectra[flat[0], 0]:g} in every "
                "band), which no soil is; remove the scan"
            )
        low, high = REFLECTANCE_RANGE if self.quantity == "reflectance" else ABSORBANCE_RANGE
        if (bad := np.argwhere((self.spectra < low) | (self.spectra > high))).size:
            row, band = bad[0]
            raise InputError(
                f"{self.source}: spectrum {self.ids[row]} is {self.spectra[row, band]:g} at "
                f"{self.wavelengths_nm[band]:g} nm, outside {low:g}..{high:g} for {self.quantity}; remove the scan or "
                "declare the other quantity with --set data.quantity=..."
            )

    def _check_targets(self) -> None:
        for name, values in self.targets.items():
            impossible = np.isinf(values) | (values < 0)
            if name.startswith("pH"):
                impossible |= values > 14
            if name.endswith("_pct"):
                impossible |= values > 100
            if name.endswith("_g_kg"):
                impossible |= values > 1000
            if (bad := np.flatnonzero(impossible)).size:
                raise InputError(
                    f"{self.source}: {name} of {self.ids[bad[0]]} is {values[bad[0]]:g}, which no laboratory can have "
                    "measured; correct it or leave the cell empty"
                )
