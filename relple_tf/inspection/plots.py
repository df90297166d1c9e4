"""The plots of the inspection page: all spectra as quantiles, and histograms of the targets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from relple_tf.report.plots.figures import (
    HALF,
    WIDE,
    Array,
    absorption_lines,
    legend_below,
    line_styles,
    picture,
    shortened,
)

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
MOST_POINTS = 800
"""Bands drawn of a quantile, more than its picture has pixels."""
MOST_BINS = 40
_BANDS = 64
"""Bands sorted at a time; all at once would need a copy of the spectra."""


def band_quantiles(spectra: Array) -> Array:
    """(QUANTILES, bands) of (n, bands) spectra."""
    blocks = [
        np.quantile(spectra[:, first : first + _BANDS], QUANTILES, axis=0)
        for first in range(0, spectra.shape[1], _BANDS)
    ]
    return np.concatenate(blocks, axis=1)


@picture
def all_spectra(wavelengths_nm: Array, spectra: Array, named: Mapping[str, Array], *, axis: str) -> tuple[Figure, str]:
    """Quantiles of all spectra by wavelength, and single spectra as lines on top.

    Args:
        wavelengths_nm: (bands,), ascending.
        spectra: (n, bands).
        named: Label -> (bands,) spectrum.
        axis: Name of the quantity.
    """
    figure = Figure(figsize=(WIDE[0], 3.9), layout="constrained")
    axes = figure.subplots()
    absorption_lines(axes, wavelengths_nm, named=True)
    drawn = slice(None, None, -(-len(wavelengths_nm) // MOST_POINTS))
    nm, quantiles = wavelengths_nm[drawn], band_quantiles(spectra)[:, drawn]
    bands = (("minimum to maximum", 0, "0.92"), ("5 to 95 %", 1, "0.8"), ("25 to 75 %", 2, "0.66"))
    for label, low, shade in bands:
        axes.fill_between(nm, quantiles[low], quantiles[-1 - low], color=shade, linewidth=0, label=label)
    axes.plot(nm, quantiles[len(QUANTILES) // 2], color="k", linewidth=1.4, label=f"median of {len(spectra)}")
    # The styles of targets: dashes distinguish the lines in greyscale print.
    for label, look in line_styles(list(named)).items():
        style: dict[str, Any] = {"linewidth": 0.9, **look}
        axes.plot(wavelengths_nm, named[label], label=shortened(label, 28), **style)
    axes.set(xlabel="wavelength (nm)", ylabel=axis)
    axes.set_xlim(wavelengths_nm[0], wavelengths_nm[-1])
    legend_below(figure, axes)
    description = f"{axis} by wavelength: quantiles of {len(spectra)} scans"
    return figure, f"{description}, and {', '.join(named)}" if named else description


@picture
def histogram(values: Array, target: str, *, colour: str) -> tuple[Figure, str]:
    """Histogram of the measured values (finite) of a target, named with its unit."""
    figure = Figure(figsize=(HALF[0], 2.4), layout="constrained")
    axes = figure.subplots()
    counts, edges = np.histogram(values, bins=min(MOST_BINS, max(5, round(2 * np.sqrt(len(values))))))
    axes.stairs(counts, edges, fill=True, color=colour, alpha=0.45, linewidth=0)
    axes.stairs(counts, edges, color=colour, linewidth=0.8)
    axes.axvline(np.median(values), color="k", linewidth=1.0, linestyle="--")
    axes.set(xlabel=shortened(target, 32), ylabel="rows", title=f"n = {len(values)}")
    return figure, f"Histogram of {len(values)} values of {target}, {values.min():g} to {values.max():g}"
