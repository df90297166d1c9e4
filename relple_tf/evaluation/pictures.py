"""The report's pictures: each function draws one and returns an `<img>` that holds it as SVG.

Sizes are chosen for a phone: a half-width picture is about as wide as its screen, so that its
letters stay readable.
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
from matplotlib.ticker import MaxNLocator

STYLE: Any = {
    "axes.edgecolor": "0.3",
    "axes.grid": False,
    "axes.labelsize": 9,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same letters
    "font.size": 8.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "svg.fonttype": "path",
    "svg.hashsalt": "relple_tf",  # without it, ids are random and no two reports equal
    "text.parse_math": False,  # a `$` in a name is a dollar
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
HALF, WIDE = (3.7, 3.3), (5.4, 3.3)
"""Inches."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's colours for all kinds of colour vision, less black and yellow."""
DASHES = ("-", "--", "-.", ":")
GREY = "0.7"

MANY_POINTS = 1500
"""A scatter of more points is stored as pixels, else the report grows without showing more."""
LOWEST_R2 = -0.5
"""Curves below this would press all others flat."""

ABSORPTIONS = (
    (1414, "water", "center"),
    (1726, "C-H", "center"),
    (1914, "water", "center"),
    (2208, "Al-OH", "center"),
    (2309, "C-H", "right"),
    (2340, "carbonate", "left"),
)
"""Known bands of soil in nm, and where the name stands so that neighbours do not collide."""

Parameters = ParamSpec("Parameters")
Array = npt.NDArray[Any]


def picture(draw: Callable[Parameters, tuple[Figure, str]]) -> Callable[Parameters, str]:
    """Turn a function that draws a figure and describes it into one that returns an `<img>`."""

    @wraps(draw)
    def drawn(*arguments: Parameters.args, **named: Parameters.kwargs) -> str:
        stream = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            figure, description = draw(*arguments, **named)
            figure.savefig(stream, format="svg", dpi=200, metadata={"Date": None})
        encoded = base64.b64encode(stream.getvalue()).decode("ascii")
        return f'<img alt="{html.escape(description)}" src="data:image/svg+xml;base64,{encoded}">'

    return drawn


def line_styles(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Colour and dashes of each target, the same in all pictures; dashes serve grey print."""
    return {
        name: {"color": PALETTE[i % len(PALETTE)], "linestyle": DASHES[i % len(DASHES)]} for i, name in enumerate(names)
    }


def shortened(name: str, length: int = 18) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= length else name[: length - 1] + "…"


@picture
def one_to_one(measured: Array, predicted: dict[str, Array], *, target: str, colour: str) -> tuple[Figure, str]:
    """Predicted over measured on equal axes, in laboratory units.

    Args:
        measured: (n,), finite.
        predicted: Legend -> (n,); the last is drawn in `colour` on top, those before in grey.
        target: Name with unit.
        colour: Of the target.
    """
    figure = Figure(figsize=(3.7, 4.2))
    # A fixed place instead of a computed one, so that the squares of all targets are alike.
    axes = figure.add_axes((0.17, 0.115, 0.8, 0.705))
    values = np.concatenate([measured, *predicted.values()])
    margin = 0.04 * np.ptp(values)
    limits = (values.min() - margin, values.max() + margin)
    many = len(measured) > MANY_POINTS
    dots: dict[str, Any] = {"linewidths": 0, "rasterized": many, "s": 5 if many else 14}
    axes.plot(limits, limits, color="0.3", linewidth=0.7, zorder=1)
    for place, (label, estimate) in enumerate(predicted.items(), start=1):
        own = place == len(predicted)
        dots |= {"color": colour if own else GREY, "alpha": 0.4 if many else 0.7}
        axes.scatter(measured, estimate, label=label, zorder=place + 1, **dots)
    name = shortened(target, 32)
    axes.set(xlim=limits, ylim=limits)
    axes.set(xlabel=f"measured {name}", ylabel=f"predicted {name}")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    title = f"{name}, n = {len(measured)}"
    handles, labels = axes.get_legend_handles_labels()
    style: dict[str, Any] = {"handletextpad": 0.2, "markerscale": 2.5 if many else 1.5}
    style |= {"title": title, "alignment": "left", "loc": "upper left"}
    figure.legend(handles[::-1], labels[::-1], **style)
    told = "; ".join(labels[::-1])
    return figure, f"Predicted over measured {target} of {len(measured)} test soils. {told}"


@picture
def validation_curves(history: pd.DataFrame, targets: Sequence[str]) -> tuple[Figure, str]:
    """R2 of each target on validation rows, and the score that decides, by epoch; the best epoch is marked."""
    figure, axes = _epochs(history)
    columns = [f"validation_r2_{target}" for target in targets]
    curves = history[[*columns, "validation_score"]].replace(-np.inf, np.nan)
    for column, (target, style) in zip(columns, line_styles(targets).items(), strict=True):
        _curve(axes, history["epoch"], curves[column], label=shortened(target), **style)
    scores = curves["validation_score"]
    _curve(axes, history["epoch"], scores, label="score", color="k", linewidth=1.6)
    told = "no epoch has a finite score"
    if scores.notna().any():
        best = scores.idxmax()
        epoch, score = int(history.loc[best, "epoch"]), float(scores[best])
        told = f"best epoch {epoch}, score {score:.2f}"
        axes.axvline(epoch, color="0.5", linewidth=0.7, linestyle=":")
        axes.plot(epoch, score, "o", color="k", markersize=4.5)
    lowest, highest = np.nanmin([0.0, *curves.min()]), np.nanmax([0.0, *curves.max()])
    axes.set_ylim(max(lowest, LOWEST_R2) - 0.02, max(1.0, highest))
    axes.set(ylabel="R², score", title=f"Validation: {told}")
    _legend_below(figure, axes)
    return figure, f"Validation R2 by epoch of {', '.join(targets)} and the score; {told}"


@picture
def loss_curve(history: pd.DataFrame) -> tuple[Figure, str]:
    """The joint training loss by epoch."""
    figure, axes = _epochs(history)
    _curve(axes, history["epoch"], history["loss"], color="k")
    axes.set(ylabel="joint loss", title="Training")
    return figure, "Joint training loss by epoch"


@picture
def loss_weights(history: pd.DataFrame, targets: Sequence[str]) -> tuple[Figure, str]:
    """What each target's loss counts for in the joint loss, by epoch."""
    figure, axes = _epochs(history)
    for target, style in line_styles(targets).items():
        label = shortened(target)
        _curve(axes, history["epoch"], history[f"weight_{target}"], label=label, **style)
    weights = history[[f"weight_{target}" for target in targets]].to_numpy()
    highest = np.max(weights[np.isfinite(weights)], initial=0.0)  # epoch 0, the start, has no weights
    axes.set_ylim(0, 1.08 * highest or 1.0)
    axes.set(ylabel="weight", title="Weight of each target in the joint loss")
    _legend_below(figure, axes)
    return figure, f"Joint-loss weights by epoch of {', '.join(targets)}"


@picture
def heat_map(table: pd.DataFrame, *, title: str, axis: str = "", signed: bool = False) -> tuple[Figure, str]:
    """A table of numbers up to 1 as coloured cells; NaN is hatched, `signed` begins at -1."""
    rows, columns = table.shape
    figure = Figure(figsize=(3.7, 1.7 + 0.33 * rows), layout="constrained")
    axes = figure.subplots()
    axes.patch.set(hatch="////", facecolor="white", edgecolor="0.85")
    values = table.to_numpy()
    colours: dict[str, Any] = {"cmap": "RdBu" if signed else "Blues", "vmin": -1 if signed else 0}
    cells = axes.pcolormesh(np.ma.masked_invalid(values), vmax=1, edgecolors="white", linewidth=1, **colours)
    told = []
    for row, column in np.argwhere(~np.isnan(values)):
        number = f"{values[row, column]:z.2f}"
        red, green, blue, _ = cells.to_rgba(values[row, column])
        ink = "k" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "w"
        axes.text(column + 0.5, row + 0.5, number, color=ink, ha="center", va="center")
        told.append(f"{table.index[row]} with {table.columns[column]} {number}")
    axes.set_xticks(np.arange(columns) + 0.5, [*map(shortened, table.columns)])
    axes.set_yticks(np.arange(rows) + 0.5, [*map(shortened, table.index)])
    axes.tick_params(axis="x", labelrotation=40)
    for label in axes.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")
    axes.set(title=title, xlabel=axis)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    return figure, f"{title}: {'; '.join(told)}"


@picture
def spectra(wavelengths_nm: Array, rows: Array, labels: Sequence[str], *, axis: str) -> tuple[Figure, str]:
    """A few spectra (rows, bands), dark to light, with the known absorptions in range."""
    figure = Figure(figsize=WIDE, layout="constrained")
    axes = figure.subplots()
    for nm, name, side in ABSORPTIONS:
        if wavelengths_nm[0] <= nm <= wavelengths_nm[-1]:
            axes.axvline(nm, color="0.85", linewidth=0.8, zorder=0)
            place: dict[str, Any] = {"rotation": 90, "va": "bottom", "ha": side}
            above = axes.get_xaxis_transform()
            axes.text(nm, 1.01, f"{name} {nm}", transform=above, fontsize=7, color="0.3", **place)
    shades = matplotlib.colormaps["cividis"](np.linspace(0.0, 0.88, len(rows)))
    for row, label, shade in zip(rows, labels, shades, strict=True):
        axes.plot(wavelengths_nm, row, color=shade, label=label)
    axes.set(xlabel="wavelength (nm)", ylabel=axis)
    axes.set_xlim(wavelengths_nm[0], wavelengths_nm[-1])
    _legend_below(figure, axes)
    return figure, f"{axis} over wavelength of {', '.join(labels)}"


def _epochs(history: pd.DataFrame) -> tuple[Figure, Axes]:
    figure = Figure(figsize=HALF, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(history["epoch"].min() - 0.5, history["epoch"].max() + 0.5)
    return figure, axes


def _curve(axes: Axes, epochs: pd.Series, values: pd.Series, **style: Any) -> None:
    """A line; points as well while there are few, for a single one makes no line."""
    axes.plot(epochs, values, marker="." if len(epochs) < 10 else None, markersize=4, **style)


def _legend_below(figure: Figure, axes: Axes) -> None:
    columns = 2 if figure.get_figwidth() < WIDE[0] else 3
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
