"""Plots of the soils: predicted against measured values, the learning curve, leverage T2 and residual Q."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from relple_tf.report.plots.figures import (
    GREY,
    HALF,
    PALETTE,
    Array,
    legend_below,
    line_styles,
    picture,
    shortened,
)

MANY_POINTS = 1500
"""Scatter plots with more points are rasterised, to limit the size of the report."""
MANY_INTERVALS = 400
"""Intervals are not drawn for more soils, because they would overlap."""


@picture
def one_to_one(
    measured: Array,
    predicted: dict[str, Array],
    bounds: tuple[Array, Array] | None = None,
    *,
    target: str,
    colour: str,
) -> tuple[Figure, str]:
    """Predicted against measured values on equal axes, in laboratory units.

    Args:
        measured: (n,), finite.
        predicted: Legend entry -> (n,); the last is drawn in `colour` on top, the others in grey.
        bounds: Lower and upper bounds (n,) of the prediction intervals of the last model, drawn as light lines.
        target: Name with unit.
        colour: Colour of the target.
    """
    figure = Figure(figsize=(3.7, 4.2))
    # A fixed position instead of an automatic layout, so that the squares of all targets have the same size.
    axes = figure.add_axes((0.17, 0.115, 0.8, 0.705))
    values = np.concatenate([measured, *predicted.values()])
    margin = 0.04 * np.ptp(values)
    limits = (values.min() - margin, values.max() + margin)
    many = len(measured) > MANY_POINTS
    dots: dict[str, Any] = {"linewidths": 0, "rasterized": many, "s": 5 if many else 14}
    axes.plot(limits, limits, color="0.3", linewidth=0.7, zorder=1)
    if bounds is not None and len(measured) <= MANY_INTERVALS:
        axes.vlines(measured, *bounds, color=colour, alpha=0.22, linewidth=0.7, zorder=1)
    for order, (label, predictions) in enumerate(predicted.items(), start=1):
        is_last = order == len(predicted)
        dots |= {"color": colour if is_last else GREY, "alpha": 0.4 if many else 0.7}
        axes.scatter(measured, predictions, label=label, zorder=order + 1, **dots)
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
    description = "; ".join(labels[::-1])
    return figure, f"Predicted against measured {target} of {len(measured)} test soils. {description}"


@picture
def learning_curves(curves: dict[str, dict[int, float]], targets: Sequence[str]) -> tuple[Figure, str]:
    """The RMSE by the number of soils, divided by the RMSE with all soils.

    Args:
        curves: Target -> {number of soils, ascending: RMSE}.
        targets: All targets, for their colours.
    """
    figure = Figure(figsize=HALF, layout="constrained")
    axes = figure.subplots()
    description = []
    for target, style in line_styles(targets).items():
        if target in curves:
            soils, rmse = zip(*curves[target].items(), strict=True)
            multiples = np.array(rmse) / (rmse[-1] or 1.0)
            line: dict[str, Any] = {"marker": "o", "markersize": 3.5, **style}
            axes.plot(soils, multiples, label=shortened(target), **line)
            points = (f"{count} soils {multiple:.2f}" for count, multiple in zip(soils, multiples, strict=True))
            description.append(f"{target} {', '.join(points)}")
    axes.axhline(1, color="0.5", linewidth=0.7, linestyle=":")
    axes.set_xlim(left=0)
    axes.set(xlabel="number of soils fitted on", ylabel="RMSE / RMSE with all", title="PLSR, cross-validated")
    legend_below(figure, axes)
    return figure, f"RMSE of PLSR divided by the RMSE with all soils: {'; '.join(description)}"


@picture
def domain(train: Array, test: Array, status: npt.NDArray[np.str_], limits: Array) -> tuple[Figure, str]:
    """Residual Q against leverage T2 with their limits, logarithmic axes: training soils grey, test soils by status.

    Args:
        train: (2, n) T2 and Q of the training soils, cross-validated.
        test: (2, m) T2 and Q of the test soils; values that are not finite are not drawn.
        status: (m,) status of the test soils.
        limits: (2,) limits of T2 and Q.
    """
    figure = Figure(figsize=(3.7, 3.7), layout="constrained")
    axes = figure.subplots()
    inside = status == "ok"
    clouds = {
        f"training, CV: {train.shape[1]}": (train, GREY, "o"),
        f"test, inside: {inside.sum()}": (test[:, inside], PALETTE[0], "o"),
        f"test, outside: {(~inside).sum()}": (test[:, ~inside], PALETTE[1], "D"),
    }
    # A logarithmic axis cannot show 0; such points are drawn at the smallest positive value.
    values = np.concatenate([train, test], axis=1)
    lowest = np.min(np.where(values > 0, values, np.inf), axis=1)
    for label, (points, colour, marker) in clouds.items():
        many = points.shape[1] > MANY_POINTS
        style: dict[str, Any] = {"linewidths": 0, "rasterized": many, "s": 4 if many else 11, "marker": marker}
        axes.scatter(*np.maximum(points, lowest[:, None]), label=label, color=colour, alpha=0.6, **style)
    axes.axvline(limits[0], color="0.3", linewidth=0.8, linestyle="--")
    axes.axhline(limits[1], color="0.3", linewidth=0.8, linestyle="--")
    axes.set(xscale="log", yscale="log", xlabel="leverage T²", ylabel="residual Q")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", handletextpad=0.2, markerscale=1.5)
    return figure, f"Residual Q against leverage T2, with their limits. Soils {', '.join(labels)}"
