"""The report's picture of wavelength importance."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from relple_tf.report.plots.figures import HALF, Array, absorption_lines, picture, shortened

MOST_TOLD = 3
"""Blocks that the description names."""


@picture
def importance(
    wavelengths_nm: Array, mean_spectrum: Array, table: pd.DataFrame, target: str, *, axis: str, colour: str
) -> tuple[Figure, str]:
    """The importance of each block of wavelengths as shaded steps, below the mean spectrum of the soils.

    Args:
        wavelengths_nm: (bands,), ascending.
        mean_spectrum: (bands,) of the soils that the table is of.
        table: From `band_importance`.
        target: A column of it.
        axis: What the spectrum is, in words.
        colour: Of the target.
    """
    figure = Figure(figsize=(HALF[0], 3.7), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(1, 1.4))
    for axes in (above, below):
        absorption_lines(axes, wavelengths_nm, named=axes is above)
        axes.set_xlim(wavelengths_nm[0], wavelengths_nm[-1])
    above.plot(wavelengths_nm, mean_spectrum, color="k")
    above.set(ylabel=textwrap.fill(axis, 12))
    share = 100 * table[target].to_numpy()
    edges = [*table["start_nm"], table["stop_nm"].iloc[-1]]
    below.stairs(share, edges, fill=True, color=colour, alpha=0.35, linewidth=0)
    below.stairs(share, edges, color=colour, linewidth=1.0)
    below.axhline(0, color="0.3", linewidth=0.6)
    # Without this a model that reads nothing would have its chance differences blown up to the height of the picture.
    below.set_ylim(min(0.0, np.nanmin(share, initial=0.0)), max(5.0, 1.08 * np.nanmax(share, initial=0.0)))
    below.set(xlabel="wavelength (nm)", ylabel="rise of the\nRMSE (%)", title=shortened(target, 32))
    return figure, f"Rise of the RMSE of {target} with blocks of wavelengths from other soils; {_told(table, share)}"


def _told(table: pd.DataFrame, share: Array) -> str:
    """The blocks of the largest rise, in words."""
    largest = [row for row in np.argsort(-share) if share[row] > 0][:MOST_TOLD]
    if not largest:
        return "no block raises it"
    return "most at " + ", ".join(
        f"{table['start_nm'].iloc[row]:g} to {table['stop_nm'].iloc[row]:g} nm ({share[row]:.0f} %)" for row in largest
    )
