"""Style and helper functions shared by the plots of all pages, and the plots of tables and spectra.

Each plotting function returns an `<img>` with an embedded SVG. Sizes are chosen for a phone: a half-width plot is
about as wide as its screen, so that the text stays readable.
"""

import base64
import html
import io
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE: Any = {
    "axes.edgecolor": "0.3",
    "axes.grid": False,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "font.family": "DejaVu Sans",  # included in matplotlib, so the letters are the same on every computer
    "font.size": 8.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "svg.fonttype": "path",
    "svg.hashsalt": "relple_tf",  # without it the ids are random and no two reports are equal
    "text.parse_math": False,  # a `$` in a name is a dollar sign
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
HALF, WIDE = (3.7, 3.3), (5.4, 3.3)
"""Width and height in inches."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Colour-blind safe colours of Okabe and Ito, without black and yellow."""
DASHES = ("-", "--", "-.", ":")
GREY = "0.7"

ABSORPTIONS = (
    (1414, "water", "center"),
    (1726, "C-H", "center"),
    (1914, "water", "center"),
    (2208, "Al-OH", "center"),
    (2309, "C-H", "right"),
    (2340, "carbonate", "left"),
)
"""Known absorptions of soil: wavelength in nm, name, and alignment of the name, so that names do not overlap."""

Parameters = ParamSpec("Parameters")
Array = npt.NDArray[Any]


def picture(draw: Callable[Parameters, tuple[Figure, str]]) -> Callable[Parameters, str]:
    """Decorate a function that returns a figure and its description, so that it returns an `<img>` with an alt text."""

    @wraps(draw)
    def as_img(*arguments: Parameters.args, **named: Parameters.kwargs) -> str:
        stream = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            figure, description = draw(*arguments, **named)
            figure.savefig(stream, format="svg", dpi=200, metadata={"Date": None})
        encoded = base64.b64encode(stream.getvalue()).decode("ascii")
        return f'<img alt="{html.escape(description)}" src="data:image/svg+xml;base64,{encoded}">'

    return as_img


def line_styles(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Colour and dashes of each target, the same in all plots; the dashes distinguish lines in greyscale print."""
    return {
        name: {"color": PALETTE[i % len(PALETTE)], "linestyle": DASHES[i % len(DASHES)]} for i, name in enumerate(names)
    }


def shortened(name: str, length: int = 18) -> str:
    """The name, truncated to fit at an axis."""
    return name if len(name) <= length else name[: length - 1] + "…"


@picture
def heat_map(table: pd.DataFrame, *, title: str, axis: str = "", signed: bool = False) -> tuple[Figure, str]:
    """A table as coloured cells, scaled from 0 (or -1 if `signed`) to 1; NaN is hatched."""
    rows, columns = table.shape
    figure = Figure(figsize=(3.7, 1.7 + 0.33 * rows), layout="constrained")
    axes = figure.subplots()
    axes.patch.set(hatch="////", facecolor="white", edgecolor="0.85")
    values = table.to_numpy()
    colours: dict[str, Any] = {"cmap": "RdBu" if signed else "Blues", "vmin": -1 if signed else 0}
    cells = axes.pcolormesh(np.ma.masked_invalid(values), vmax=1, edgecolors="white", linewidth=1, **colours)
    description = []
    for row, column in np.argwhere(~np.isnan(values)):
        number = f"{values[row, column]:z.2f}"
        red, green, blue, _ = cells.to_rgba(values[row, column])
        text_colour = "k" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "w"
        axes.text(column + 0.5, row + 0.5, number, color=text_colour, ha="center", va="center")
        description.append(f"{table.index[row]} with {table.columns[column]} {number}")
    axes.set_xticks(np.arange(columns) + 0.5, [*map(shortened, table.columns)])
    axes.set_yticks(np.arange(rows) + 0.5, [*map(shortened, table.index)])
    axes.tick_params(axis="x", labelrotation=40)
    for label in axes.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")
    axes.set(title=title, xlabel=axis)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    return figure, f"{title}: {'; '.join(description)}"


@picture
def spectra(wavelengths_nm: Array, rows: Array, labels: Sequence[str], *, axis: str) -> tuple[Figure, str]:
    """A few spectra (rows, bands), from dark to light, with the known absorptions in range."""
    figure = Figure(figsize=WIDE, layout="constrained")
    axes = figure.subplots()
    absorption_lines(axes, wavelengths_nm, named=True)
    shades = matplotlib.colormaps["cividis"](np.linspace(0.0, 0.88, len(rows)))
    for row, label, shade in zip(rows, labels, shades, strict=True):
        axes.plot(wavelengths_nm, row, color=shade, label=label)
    axes.set(xlabel="wavelength (nm)", ylabel=axis)
    axes.set_xlim(wavelengths_nm[0], wavelengths_nm[-1])
    legend_below(figure, axes)
    return figure, f"{axis} by wavelength of {', '.join(labels)}"


def absorption_lines(axes: Axes, wavelengths_nm: Array, *, named: bool) -> None:
    """Grey lines at the known absorptions in range; `named` adds their names above the axes."""
    for nm, name, side in ABSORPTIONS:
        if wavelengths_nm[0] <= nm <= wavelengths_nm[-1]:
            axes.axvline(nm, color="0.85", linewidth=0.8, zorder=0)
            if named:
                style: dict[str, Any] = {"rotation": 90, "va": "bottom", "ha": side}
                above = axes.get_xaxis_transform()
                axes.text(nm, 1.01, f"{name} {nm}", transform=above, fontsize=7, color="0.3", **style)


def legend_below(figure: Figure, axes: Axes) -> None:
    """The legend of a figure with a single axes, below the plot."""
    columns = 2 if figure.get_figwidth() < WIDE[0] else 3
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
