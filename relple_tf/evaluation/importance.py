"""Wavelength importance: the increase of the RMSE if a block of wavelengths is replaced by that of another soil."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.spectra.library import REFLECTANCE_FLOOR

Array = npt.NDArray[np.float64]
Scans = npt.NDArray[np.float32]
Predict = Callable[[Scans], dict[str, Array]]

BLOCK_NM = 50.0
"""Width of a block: about the width of an absorption band of soil."""


def band_importance(
    predict: Predict,
    spectra: Scans,
    quantity: str,
    values: dict[str, Array],
    wavelengths_nm: Array,
    *,
    block_nm: float = BLOCK_NM,
    repeats: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Permutation importance of blocks of wavelengths (Breiman 2001, Machine Learning 45(1), 5-32), per target.

    Each block of bands is permuted among the soils as a whole, then the model predicts all soils again; the importance
    is the increase of the RMSE. A block is joined to its new scan without a step (see `transplanted`), so it transfers
    the shape of the absorptions but not the baseline level, which belongs to the whole spectrum. Neighbouring blocks
    are correlated: a small importance means that this model does not need the block, not that the block has no
    information.

    Args:
        predict: Maps scans (n, bands) to target -> (n,); the predictions for a scan must not depend on other scans.
        spectra: (n, bands) of soils that the model was not trained on.
        quantity: Of the spectra: `reflectance` or `absorbance`.
        values: Target -> (n,) laboratory values in the unit of the predictions, NaN where not measured. For skewed
            targets, give both on the modelled scale; otherwise a few high values dominate.
        wavelengths_nm: (bands,), ascending.
        block_nm: Width of a block.
        repeats: Permutations per block; their squared errors are averaged.
        seed: Of the permutations; they are the same for all blocks.

    Returns:
        A row per block: start_nm and stop_nm (wavelengths of its first and last band), and per target the relative
        increase of the RMSE compared with the unchanged scans. 0 if the model does not read the block; it can be below
        0 by chance. NaN if the target has no values, a prediction is NaN, or the RMSE of the unchanged scans is 0.
    """
    rng = np.random.default_rng(seed)
    donors = np.stack([rng.permutation(len(spectra)) for _ in range(repeats)])
    reflectance = quantity == "reflectance"
    # Absorptions are additive in absorbance; added there, the shape of one soil cannot make a reflectance negative.
    absorbance = spectra.astype("float64")
    if reflectance:
        absorbance = -np.log10(np.maximum(absorbance, REFLECTANCE_FLOOR))
    unchanged = rmse(predict(spectra), values)
    rows = []
    for block in blocks(wavelengths_nm, block_nm):
        first, last = wavelengths_nm[[block.start, block.stop - 1]]
        permuted = np.tile(spectra, (repeats, 1))
        replacement = transplanted(absorbance, block, donors.ravel(), wavelengths_nm)
        permuted[:, block] = 10**-replacement if reflectance else replacement
        errors = rmse(predict(permuted), {name: np.tile(measured, repeats) for name, measured in values.items()})
        increase = {name: errors[name] / unchanged[name] - 1 if unchanged[name] > 0 else np.nan for name in values}
        rows.append({"start_nm": first, "stop_nm": last, **increase})
    return pd.DataFrame(rows)


def blocks(wavelengths_nm: Array, block_nm: float) -> Iterator[slice]:
    """The bands of consecutive blocks of `block_nm`; the last block has 0.5 to 1.5 times this width.

    If the wavelengths are further apart than `block_nm`, each block is a single band.
    """
    along = (wavelengths_nm - wavelengths_nm[0]) / block_nm
    number = np.minimum(np.floor(along + 1e-6), max(round(along[-1]) - 1, 0))
    starts = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
    for start, stop in zip(starts, [*starts[1:], len(number)], strict=True):
        yield slice(start, stop)


def transplanted(absorbance: Array, block: slice, donors: npt.NDArray[np.intp], wavelengths_nm: Array) -> Array:
    """The block of other soils (donors), joined to the scans without a step at its ends.

    A step becomes a spike in the derivatives that no soil has: on a real library it made the error several times
    larger for every block, with or without an absorption. Therefore the straight line between the two neighbours of
    the block (the bands before and after it) is subtracted from the donor, and the line of the receiver is added. At
    an end of the spectrum the block has one neighbour and the line is constant. A block that is the whole spectrum is
    copied unchanged.

    Args:
        absorbance: (n, bands).
        block: Bands of the block.
        donors: (repeats * n,) rows of `absorbance`; their blocks replace those of rows 0, 1, ..., n - 1, 0, 1, ...
        wavelengths_nm: (bands,).

    Returns:
        (repeats * n, bands of the block).
    """
    ends = [end for end in (block.start - 1, block.stop) if 0 <= end < len(wavelengths_nm)]
    if not ends:
        return absorbance[donors]
    # 0 at the first neighbour and 1 at the second; 0 everywhere if there is only one.
    along = np.interp(wavelengths_nm[block], wavelengths_nm[ends], np.arange(len(ends)))
    line = absorbance[:, [ends[0]]] * (1 - along) + absorbance[:, [ends[-1]]] * along
    receivers = np.arange(len(donors)) % len(absorbance)
    joined: Array = (absorbance[:, block] - line)[donors] + line[receivers]
    return joined


def rmse(predictions: dict[str, Array], values: dict[str, Array]) -> dict[str, float]:
    """Root mean squared error per target over the measured soils; NaN if no soil was measured."""
    errors = {}
    for name, measured in values.items():
        is_measured = ~np.isnan(measured)
        squares = (np.asarray(predictions[name], "float64")[is_measured] - measured[is_measured]) ** 2
        errors[name] = float(np.sqrt(squares.mean())) if is_measured.any() else float("nan")
    return errors
