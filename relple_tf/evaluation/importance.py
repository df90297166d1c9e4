"""Which wavelengths a model reads: how much worse it gets when a block of them comes from another soil."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.spectra.library import REFLECTANCE_FLOOR

Array = npt.NDArray[np.float64]
Scans = npt.NDArray[np.float32]
Predict = Callable[[Scans], dict[str, Array]]

BLOCK_NM = 50.0
"""Width of a block: about that of an absorption band of soil."""


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

    A block of bands goes, as a whole, from each soil to another; the model predicts all anew. What counts is by how
    much that raises the RMSE. A block is joined to its new scan without a step (see `transplanted`), so it brings the
    shape of its absorptions and leaves the level: that of a whole spectrum is not in any single block. Neighbouring
    blocks say much the same, so small numbers do not prove that a block holds nothing; they say that this model does
    not miss it.

    Args:
        predict: Scans (n, bands) to target -> (n,); a scan's estimates must not depend on the others.
        spectra: (n, bands) that the model was not trained on.
        quantity: `reflectance` or `absorbance` of the spectra.
        values: Target -> (n,) laboratory values in the unit of the estimates, NaN where not measured. Of skewed targets
            both are best given on the modelled scale, or a few high values decide.
        wavelengths_nm: (bands,), ascending.
        block_nm: Width of a block.
        repeats: Permutations per block, whose squared errors are averaged.
        seed: Of the permutations, which are the same for all blocks.

    Returns:
        A row per block: start_nm and stop_nm of its first and last band, and per target the increase of the RMSE over
        that of the whole scans, as a share of it. 0 where the block is not read; below 0 by chance. NaN where the
        target has no values or an estimate is NaN, and where the whole scans leave no error to compare with.
    """
    draw = np.random.default_rng(seed)
    donors = np.stack([draw.permutation(len(spectra)) for _ in range(repeats)])
    reflectance = quantity == "reflectance"
    # Absorptions add and take away in absorbance; there, no shape of one soil makes the light of another negative.
    absorbance = spectra.astype("float64")
    if reflectance:
        absorbance = -np.log10(np.maximum(absorbance, REFLECTANCE_FLOOR))
    whole = rmse(predict(spectra), values)
    rows = []
    for block in blocks(wavelengths_nm, block_nm):
        first, last = wavelengths_nm[[block.start, block.stop - 1]]
        moved = np.tile(spectra, (repeats, 1))
        swapped = transplanted(absorbance, block, donors.ravel(), wavelengths_nm)
        moved[:, block] = 10**-swapped if reflectance else swapped
        worse = rmse(predict(moved), {name: np.tile(one, repeats) for name, one in values.items()})
        share = {name: worse[name] / whole[name] - 1 if whole[name] > 0 else np.nan for name in values}
        rows.append({"start_nm": first, "stop_nm": last, **share})
    return pd.DataFrame(rows)


def blocks(wavelengths_nm: Array, block_nm: float) -> Iterator[slice]:
    """The bands of each `block_nm` from the first wavelength on; the last block takes what is left, half more or less.

    Wavelengths further apart than a block make blocks of single bands.
    """
    along = (wavelengths_nm - wavelengths_nm[0]) / block_nm
    number = np.minimum(np.floor(along + 1e-6), max(round(along[-1]) - 1, 0))
    starts = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
    for start, stop in zip(starts, [*starts[1:], len(number)], strict=True):
        yield slice(start, stop)


def transplanted(absorbance: Array, block: slice, donors: npt.NDArray[np.intp], wavelengths_nm: Array) -> Array:
    """The block of other soils, joined to the scans so that there is no step at its ends.

    A step would be a spike of the derivatives that no soil has: on a real library it made the error several times
    larger wherever it stood, absorption or none. So the donor's block is taken off the straight line between its own
    neighbours, the bands before and after the block, and put onto the line between the receiver's. At an end of the
    spectrum there is one neighbour only, and the line is level; where the block is all there is, it goes as it is.

    Args:
        absorbance: (n, bands).
        block: Bands to take.
        donors: (repeats * n,) rows of `absorbance`, whose blocks go to rows 0, 1, ..., n - 1, 0, 1, ...
        wavelengths_nm: (bands,).

    Returns:
        (repeats * n, bands of the block).
    """
    ends = [end for end in (block.start - 1, block.stop) if 0 <= end < len(wavelengths_nm)]
    if not ends:
        return absorbance[donors]
    # 0 at the first neighbour and 1 at the second; 0 throughout if there is one only.
    along = np.interp(wavelengths_nm[block], wavelengths_nm[ends], np.arange(len(ends)))
    line = absorbance[:, [ends[0]]] * (1 - along) + absorbance[:, [ends[-1]]] * along
    receivers = np.arange(len(donors)) % len(absorbance)
    joined: Array = (absorbance[:, block] - line)[donors] + line[receivers]
    return joined


def rmse(estimated: dict[str, Array], values: dict[str, Array]) -> dict[str, float]:
    """Root mean squared error per target over its measured soils; NaN without any."""
    errors = {}
    for name, measured in values.items():
        known = ~np.isnan(measured)
        squares = (np.asarray(estimated[name], "float64")[known] - measured[known]) ** 2
        errors[name] = float(np.sqrt(squares.mean())) if known.any() else float("nan")
    return errors
