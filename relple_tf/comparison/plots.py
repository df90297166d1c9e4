"""Plots of a comparison, in the size, style and colours of the report."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from relple_tf.report.plots.figures import HALF, line_styles, picture, shortened

Floats = npt.NDArray[np.float64]

MARKERS = ("o", "s", "^", "D", "v", "P")
FARTHEST = 2.0
"""The axis extends at most this many inter-quartile ranges beyond the quartiles of a row."""


@picture
def strips(values: dict[str, Floats], *, title: str, axis: str, colours: dict[str, str]) -> tuple[Figure, str]:
    """A row per model: a point per repeat, a box between the quartiles, a bar at the median.

    Args:
        values: Model -> (repeats,).
        title: Of the plot.
        axis: Label of the x axis.
        colours: Model -> colour.
    """
    figure, axes = _rows(list(values), title, axis)
    low, high = _limits(list(values.values()))
    description = []
    for position, (model, points) in enumerate(values.items()):
        first, median, third = np.percentile(points, [25, 50, 75])
        axes.barh(position, third - first, left=first, height=0.62, color=colours[model], alpha=0.25, linewidth=0)
        axes.plot([median, median], [position - 0.31, position + 0.31], color=colours[model], linewidth=2)
        _points(axes, points, position, (low, high), colours[model])
        description.append(f"{model} {median:.2f} ({first:.2f} to {third:.2f})")
    _finish(axes, low, high)
    return figure, f"{title}, {axis}: median and quartiles of {'; '.join(description)}"


@picture
def paired(
    differences: dict[str, Floats], wins: dict[str, str], *, title: str, axis: str, colour: str
) -> tuple[Figure, str]:
    """A row per other model: a point per repeat, a bar at the median, a line at 0 and the number of wins.

    Args:
        differences: Other model -> (repeats,), above 0 if the first model is better.
        wins: Other model -> text such as `8 of 10`.
        title: Of the plot.
        axis: Label of the x axis.
        colour: Of the first model.
    """
    figure, axes = _rows(list(differences), title, axis)
    low, high = _limits([*differences.values(), np.zeros(1)])
    axes.axvline(0, color="0.3", linewidth=0.8, zorder=0)
    description = []
    for position, (model, points) in enumerate(differences.items()):
        median = float(np.median(points))
        axes.plot([median, median], [position - 0.31, position + 0.31], color="k", linewidth=2)
        colours = np.where(points > 0, colour, "0.55")
        _points(axes, points, position, (low, high), colours)
        axes.text(1.02, position, wins[model], transform=axes.get_yaxis_transform(), va="center", fontsize=8)
        description.append(f"{model} {median:+.3f}, {wins[model]}")
    _finish(axes, low, high)
    return figure, f"{title}, {axis}: medians and number of wins against {'; '.join(description)}"


@picture
def learning_curve(medians: pd.DataFrame, metric: str, *, title: str, axis: str) -> tuple[Figure, str]:
    """Median of each model by the number of development soils, with a band between the quartiles.

    Args:
        medians: Index soils, model; columns `metric`, and `metric` with _low and _high (quartiles).
        metric: Name of a column.
        title: Of the plot.
        axis: Label of the y axis.
    """
    figure = Figure(figsize=HALF, layout="constrained")
    axes = figure.subplots()
    sizes = sorted(medians.index.get_level_values("soils").unique())
    models = list(medians.index.get_level_values("model").unique())
    description = []
    for number, (model, style) in enumerate(line_styles(models).items()):
        rows = medians.xs(model, level="model").loc[sizes]
        line: dict[str, Any] = {"marker": MARKERS[number % len(MARKERS)], "markersize": 4, **style}
        axes.plot(sizes, rows[metric], label=shortened(model), **line)
        axes.fill_between(
            sizes, rows[f"{metric}_low"], rows[f"{metric}_high"], color=style["color"], alpha=0.12, linewidth=0
        )
        values = ", ".join(f"{value:.3g}" for value in rows[metric])
        description.append(f"{model} {values}")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="soils in the calibration set", ylabel=axis, title=title)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure, f"{title}, {axis} with {', '.join(map(str, sizes))} soils: {'; '.join(description)}"


def model_colours(models: Sequence[str]) -> dict[str, str]:
    """Colour of each model, the same in all plots."""
    return {model: style["color"] for model, style in line_styles(models).items()}


def _rows(names: Sequence[str], title: str, axis: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(HALF[0], 0.95 + 0.34 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.set_yticks(range(len(names)), [*map(shortened, names)])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set(title=title, xlabel=axis)
    return figure, axes


def _limits(values: Sequence[Floats]) -> tuple[float, float]:
    """Limits of the axis; an extreme repeat is clipped, because otherwise the other points would coincide."""
    lows, highs = [], []
    for points in values:
        first, third = np.percentile(points, [25, 75])
        reach = FARTHEST * max(third - first, 0.01)
        lows.append(max(points.min(), first - reach))
        highs.append(min(points.max(), third + reach))
    margin = 0.06 * max(max(highs) - min(lows), 0.02)
    return float(min(lows) - margin), float(max(highs) + margin)


def _points(axes: Axes, values: Floats, position: int, limits: tuple[float, float], colour: Any) -> None:
    """Points of a row, shifted vertically in the order of the repeats; points outside the limits are triangles."""
    heights = position + 0.2 * np.sin(2.4 * np.arange(len(values)))  # the golden angle spreads any number of points
    colours = np.broadcast_to(colour, values.shape)
    inside = (values >= limits[0]) & (values <= limits[1])
    dots: dict[str, Any] = {"linewidths": 0, "alpha": 0.8, "zorder": 3}
    axes.scatter(values[inside], heights[inside], s=11, c=colours[inside].tolist(), **dots)
    for outside, edge, marker in ((values < limits[0], limits[0], "<"), (values > limits[1], limits[1], ">")):
        edge_colours = colours[outside].tolist()
        axes.scatter(
            np.full(outside.sum(), edge), heights[outside], s=22, c=edge_colours, marker=marker, clip_on=False, **dots
        )


def _finish(axes: Axes, low: float, high: float) -> None:
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
