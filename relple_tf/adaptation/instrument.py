"""Correct the scans of another instrument, from scans of the same samples, or of one material, on both.

Every method is a linear map of absorbance on the grid of the model, from the new instrument to the instrument that the
run reads. With few pairs a simple map is often better than direct standardisation, so the pairs decide on the method.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from chemotools.adaptation import DirectStandardization, PiecewiseDirectStandardization

from relple_tf.models.instrument import TRANSFER, BandTransfer, LowRankTransfer, Transfer

Floats = npt.NDArray[np.float64]
Estimate = Callable[[Floats], Floats]
"""Absorbance (n, bands) of the instrument of the run -> estimates (n, targets) in SDs on the modelled scale."""

NONE, OFFSET, SLOPE = "none", "offset per band", "slope and offset per band"
PIECEWISE, DIRECT = "piecewise direct standardisation", "direct standardisation"
METHODS = (NONE, OFFSET, SLOPE, PIECEWISE, DIRECT)
"""From simple to complex."""
REFERENCE = "factor of the reflectance per band"

PIECEWISE_REACH = 2
"""Bands on each side of a band from which piecewise direct standardisation estimates it: 16 nm on the default grid."""
PIECEWISE_COMPONENTS = 3
"""Components of its local PLS: level, slope, which corrects a shift of the wavelengths, and curvature."""
NEGLIGIBLE_SD = 0.01
"""Difference of the estimates, in SDs, below which methods count as equal: rounding must not decide."""
SMALLEST_SINGULAR_VALUE = 1e-9
"""Of a matrix, divided by the largest; smaller ones are rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearMap:
    """Absorbance (n, bands) -> absorbance @ matrix + offset."""

    offset: Floats
    """(bands,)."""
    gain: Floats | None = None
    """(width, bands) weights of the neighbouring bands, as in `BandTransfer`; None: `left` and `right`."""
    left: Floats | None = None
    """(bands, rank)."""
    right: Floats | None = None
    """(rank, bands)."""

    def layer(self, name: str) -> Transfer:
        """The map as a layer of the deployed model."""
        if self.left is None or self.right is None:
            gain = np.ones((1, len(self.offset))) if self.gain is None else self.gain
            layer: Transfer = BandTransfer(len(gain), name=name)
            values = [gain, self.offset]
        else:
            layer = LowRankTransfer(self.left.shape[1], name=name)
            values = [self.left, self.right, self.offset]
        layer.build((None, len(self.offset)))
        layer.set_weights(values)
        return layer

    def __call__(self, absorbance: Floats) -> Floats:
        """Map absorbance (n, bands)."""
        if self.left is not None and self.right is not None:
            product: Floats = absorbance @ self.left @ self.right + self.offset
            return product
        if self.gain is None:
            return absorbance + self.offset
        reach, bands = len(self.gain) // 2, absorbance.shape[1]
        padded = np.pad(absorbance, ((0, 0), (reach, reach)))
        mapped = np.tile(self.offset, (len(absorbance), 1))
        for shift, row in enumerate(self.gain):
            mapped += padded[:, shift : shift + bands] * row
        return mapped


@dataclass(frozen=True, kw_only=True, eq=False)
class InstrumentCorrection:
    """A map from a new instrument to that of the run, and how it was chosen."""

    sources: tuple[str, str]
    """Scans of the instrument of the run, and of the new one."""
    method: str
    """One of METHODS, or REFERENCE."""
    map: LinearMap | None
    """None: no correction."""
    count: int
    """Pairs, or scans of the reference material on the new instrument."""
    squares: Mapping[str, Floats]
    """Method -> (pairs,) error of `held_out_squares`; empty for a reference material."""
    samples: frozenset[str] = frozenset()
    """Names of the pairs."""
    notes: tuple[str, ...] = ()
    """Conversions and dropped samples, one sentence each."""

    def layer(self, number: int) -> Transfer | None:
        """The map as layer `number` of the deployed model."""
        return None if self.map is None else self.map.layer(TRANSFER.format(number))

    @property
    def bytes(self) -> int:
        """Size of the constants of the layer in a device file; they stay float32."""
        layer = self.layer(1)
        return 0 if layer is None else 4 * int(layer.count_params())

    @property
    def rms(self) -> dict[str, float]:
        """Method -> root mean square error over the pairs, in SDs."""
        return {method: float(np.sqrt(squares.mean())) for method, squares in self.squares.items()}

    @property
    def facts(self) -> dict[str, Any]:
        """Entry `adaptation.instrument` of the card."""
        return {
            "sources": list(self.sources),
            "method": self.method,
            "pairs" if self.squares else "scans": self.count,
            "rms_sd": self.rms,
            "bytes": self.bytes,
        }

    @property
    def statement(self) -> str:
        """What was done, for log, card and report."""
        first, second = self.sources
        if not self.squares:
            return f"instrument: {self.method}, from {first} and {second}; {self.bytes:,} bytes in a device file"
        rms = self.rms
        return (
            f"instrument: {self.method}, chosen with {self.count} samples of {first} and {second}: the estimates from "
            f"both scans of a left-out sample differ by {rms[self.method]:.2f} SD, without correction by "
            f"{rms[NONE]:.2f} SD; {self.bytes:,} bytes in a device file"
        )


def fit_map(method: str, first: Floats, second: Floats) -> LinearMap | None:
    """Fit a map from the new instrument to that of the run.

    Args:
        method: One of METHODS.
        first: (n, bands) absorbance of samples on the instrument of the run; n >= 3.
        second: (n, bands) of the same samples on the new instrument.

    Returns:
        The map; None for NONE.
    """
    if method == NONE:
        return None
    centre, target = second.mean(axis=0), first.mean(axis=0)
    if method == OFFSET:
        return LinearMap(offset=target - centre)
    if method == SLOPE:
        centred = second - centre
        square = (centred**2).sum(axis=0)
        slope = np.divide((centred * first).sum(axis=0), square, out=np.ones_like(square), where=square > 0)
        return LinearMap(gain=slope[None], offset=target - slope * centre)
    piecewise = method == PIECEWISE
    model = (
        PiecewiseDirectStandardization(PIECEWISE_REACH, PIECEWISE_COMPONENTS, scale=False)
        if piecewise
        else DirectStandardization()
    )
    with warnings.catch_warnings():
        # The local PLS warns where its first component leaves nothing to explain.
        warnings.simplefilter("ignore")
        # Centred, so that direct standardisation, which has no constant, also corrects an offset.
        model.fit(second - centre, X_source=first - target)
    bands = len(centre)
    constant = model.transform(np.zeros((1, bands)))[0]
    matrix = model.transform(np.eye(bands)) - constant
    offset = constant + target - centre @ matrix
    if piecewise:
        padded = np.pad(matrix, ((PIECEWISE_REACH, PIECEWISE_REACH), (0, 0)))
        column = np.arange(bands)
        gain = np.stack([padded[column + shift, column] for shift in range(2 * PIECEWISE_REACH + 1)])
        return LinearMap(gain=gain, offset=offset)
    left, singular, right = np.linalg.svd(matrix)
    rank = max(1, int(np.sum(singular > SMALLEST_SINGULAR_VALUE * singular[0])))
    return LinearMap(left=left[:, :rank] * singular[:rank], right=right[:rank], offset=offset)


def held_out_squares(first: Floats, second: Floats, estimate: Estimate) -> dict[str, Floats]:
    """Error of every method for each pair, which is left out of the fit of the map.

    Args:
        first: (n, bands) absorbance of samples on the instrument of the run.
        second: (n, bands) of the same samples on the new instrument.
        estimate: The model.

    Returns:
        Method -> (n,) squared difference between the estimates of the first and of the mapped second scan, mean over
        the targets, in SDs squared. Laboratory values are not needed.
    """
    expected, rows = estimate(first), np.arange(len(first))
    squares = {}
    for method in METHODS:
        mapped = second.copy()
        for row in rows:
            if fitted := fit_map(method, first[rows != row], second[rows != row]):
                mapped[row] = fitted(second[row : row + 1])[0]
        squares[method] = np.mean((estimate(mapped) - expected) ** 2, axis=1)
    return squares


def choose(squares: Mapping[str, Floats]) -> str:
    """The simplest method whose mean error is within one standard error of the smallest (Breiman et al. 1984, CART).

    A mean error below the square of NEGLIGIBLE_SD is as good as the smallest.

    Args:
        squares: Method -> (n,) errors; methods from simple to complex.
    """
    means = {method: float(values.mean()) for method, values in squares.items()}
    best = min(means, key=lambda method: means[method])
    limit = means[best] + float(squares[best].std(ddof=1)) / len(squares[best]) ** 0.5
    limit = max(limit, NEGLIGIBLE_SD**2)
    return next(method for method, mean in means.items() if mean <= limit)


def paired_correction(
    first: Floats, second: Floats, estimate: Estimate, *, sources: tuple[str, str], samples: Sequence[str] = ()
) -> InstrumentCorrection:
    """Choose a method and fit it with all pairs.

    Args:
        first: As for `held_out_squares`, like `second` and `estimate`.
        second: See `first`.
        estimate: See `first`.
        sources: Where the scans come from.
        samples: Names of the pairs.
    """
    squares = held_out_squares(first, second, estimate)
    method = choose(squares)
    return InstrumentCorrection(
        sources=sources,
        method=method,
        map=fit_map(method, first, second),
        count=len(first),
        squares=squares,
        samples=frozenset(samples),
    )


def reference_correction(first: Floats, second: Floats, *, sources: tuple[str, str]) -> InstrumentCorrection:
    """Factor of the reflectance per band, an offset of absorbance, from scans (n, bands) of one material on each."""
    offset = first.mean(axis=0) - second.mean(axis=0)
    return InstrumentCorrection(
        sources=sources, method=REFERENCE, map=LinearMap(offset=offset), count=len(second), squares={}
    )
