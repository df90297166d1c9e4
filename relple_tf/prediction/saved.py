"""`relple_tf.load`: the model of a run folder or of a bundle, for predictions in Python."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.errors import InputError
from relple_tf.prediction.bundles import is_bundle, open_bundle, predict_bundle
from relple_tf.prediction.needs import check_needs
from relple_tf.prediction.runs import Estimate, open_run_model, predict_table, predictions_table, to_model_input
from relple_tf.runs.folder import RunFolder
from relple_tf.spectra.library import SpectralLibrary, impossible_scans


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedModel:
    """The model of a run or of a bundle."""

    path: Path
    """Folder of the run or bundle."""
    card: dict[str, Any] = field(repr=False)
    """Content of card.json."""
    estimate: Estimate = field(repr=False)
    """Spectra (n, n_bands) on the wavelengths of the model -> target, T2, Q: (n,)."""

    @property
    def wavelengths_nm(self) -> npt.NDArray[np.float64]:
        """(n_bands,) wavelengths that the model reads."""
        return np.array(self.card["input"]["wavelengths_nm"])

    @property
    def quantity(self) -> str:
        """`reflectance` or `absorbance`."""
        return str(self.card["input"]["quantity"])

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets with their units."""
        return tuple(self.card["targets"])

    def predict(
        self,
        scans: Any,
        *,
        wavelengths_nm: npt.ArrayLike | None = None,
        quantity: str | None = None,
        need: Mapping[str, float] | None = None,
    ) -> pd.DataFrame:
        """Predict scans.

        Args:
            scans: (n, n_bands) array or DataFrame, or the path of a table as `python -m relple_tf.predict` reads it.
            wavelengths_nm: (n_bands,) of the columns; None: those of the model. Ignored for a path. Scans with other
                wavelengths are interpolated; they may miss each end by `input.end_tolerance_nm` of the card.
            quantity: `reflectance` or `absorbance`; None: that of the model. Ignored for a path.
            need: Target -> largest half width of its interval that you accept, in the unit of the target, such as
                `{"OC_g_kg": 3}`.

        Returns:
            One row per scan: each target, its interval (`_low`, `_high`) if the model has intervals, and `status`. A
            target in `need` has a column `_decision` in addition: `keep` if the status is `ok` and the larger distance
            of the value to the ends of its interval is within the need, else `send`. The values of an impossible scan
            are NaN and its status is `invalid`. A path gives a column `id` in addition, and a column `scan` if the
            table has names of scans.

        Raises:
            InputError: the shape is wrong, the scans do not cover the wavelengths of the model, or a target in `need`
                is unknown, has no interval, or its width is not a finite number above 0.
        """
        needs = {} if need is None else dict(need)
        check_needs(needs, self.card["targets"], self.path)
        if isinstance(scans, str | Path):
            if is_bundle(self.path):
                return predict_bundle(self.path, Path(scans), needs)[0]
            return predict_table(RunFolder(path=self.path), Path(scans), needs)[0]
        spectra = np.asarray(scans, "float64")
        nm = self.wavelengths_nm if wavelengths_nm is None else np.asarray(wavelengths_nm, "float64")
        if spectra.ndim != 2:
            raise InputError(
                f"scans: expected shape (n, {len(nm)}); received {spectra.shape}; a single scan is scan[None]"
            )
        if spectra.shape[1:] != nm.shape:
            name = "scans" if wavelengths_nm is None else "wavelengths_nm"
            raise InputError(
                f"{name}: expected one wavelength per column; received {spectra.shape[1]} columns and {len(nm)}"
            )
        narrow = spectra.astype("float32")
        unit = quantity or self.quantity
        impossible = impossible_scans(narrow.min(axis=1), narrow.max(axis=1), unit)
        outputs = {name: np.full(len(narrow), np.nan, "float32") for name in (*self.targets, "T2", "Q")}
        if not impossible.all():
            library = SpectralLibrary.from_arrays(
                spectra[~impossible], {}, wavelengths_nm=nm, quantity=unit, source="scans"
            )
            for name, values in self.estimate(to_model_input(library, self.card)[0].spectra).items():
                outputs[name][~impossible] = values
        table = predictions_table(self.card, {}, outputs, needs)
        return table.set_index(scans.index) if isinstance(scans, pd.DataFrame) else table


def load(path: str | Path) -> SavedModel:
    """Load the model of a run folder or of a bundle.

    Args:
        path: Folder that `relple_tf.train`, `SoilRegressor.save` or `export.bundle` wrote.

    Raises:
        InputError: the folder is neither, or a file is damaged.
    """
    folder = Path(path)
    if is_bundle(folder):
        card, _, estimate = open_bundle(folder)
    else:
        card, estimate = open_run_model(RunFolder(path=folder))
    return SavedModel(path=folder, card=card, estimate=estimate)
