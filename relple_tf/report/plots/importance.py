"""The plot of wavelength importance."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from relple_tf.report.plots.figures import HALF, Array, absorption_lines, picture, shortened

DESCRIBED_BLOCKS = 3
"""Number of blocks that the description names."""


@picture
def importance(
    wavelengths_nm: Array, mean_spectrum: Array, table: pd.DataFrame, target: str, *, axis: str, colour: str
) -> tuple[Figure, str]:
    """The importance of each block of wavelengths as steps, below the mean spectrum of the soils.

    Args:
        wavelengths_nm: (bands,), ascending.
        mean_spectrum: (bands,), mean of the training soils.
        table: From `band_importance`.
        target: A column of the table.
        axis: Name of the spectrum's quantity.
        colour: Colour of the target.
    """
    figure = Figure(figsize=(HALF[0], 3.7), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(1, 1.4))
    for axes in (above, below):
        absorption_lines(axes, wavelengths_nm, named=axes is above)
        axes.set_xlim(wavelengths_nm[0], wavelengths_nm[-1])
    above.plot(wavelengths_nm, mean_spectrum, color="k")
    above.set(ylabel=textwrap.fill(axis, 12))
    increase_percent = 100 * table[target].to_numpy()
    edges = [*table["start_nm"], table["stop_nm"].iloc[-1]]
    below.stairs(increase_percent, edges, fill=True, color=colour, alpha=0.35, linewidth=0)
    below.stairs(increase_percent, edges, color=colour, linewidth=1.0)
    below.axhline(0, color="0.3", linewidth=0.6)
    # The axis reaches at least 5 %, so that random differences of a model that reads no block are not magnified.
    lowest, highest = np.nanmin(increase_percent, initial=0.0), np.nanmax(increase_percent, initial=0.0)
    below.set_ylim(min(0.0, lowest), max(5.0, 1.08 * highest))
    below.set(xlabel="wavelength (nm)", ylabel="increase of\nthe RMSE (%)", title=shortened(target, 32))
    return figure, (
        f"Increase of the RMSE of {target} if a block of wavelengths is replaced by that of other soils; "
        f"{_largest_blocks(table, increase_percent)}"
    )


def _largest_blocks(table: pd.DataFrame, increase_percent: Array) -> str:
    """The blocks with the largest increase, as text."""
    largest = [row for row in np.argsort(-increase_percent) if increase_percent[row] > 0][:DESCRIBED_BLOCKS]
    if not largest:
        return "no block increases it"
    return "most at " + ", ".join(
        f"{table['start_nm'].iloc[row]:g} to {table['stop_nm'].iloc[row]:g} nm ({increase_percent[row]:.0f} %)"
        for row in largest
    )
