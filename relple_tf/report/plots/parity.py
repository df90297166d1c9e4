"""The report's pictures of soils: what was measured and estimated, and how far they lie from the training soils."""

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
"""A scatter of more points is stored as pixels, else the report grows without showing more."""
MANY_INTERVALS = 400
"""More of them would be a grey cloud."""


@picture
def one_to_one(
    measured: Array,
    predicted: dict[str, Array],
    bounds: tuple[Array, Array] | None = None,
    *,
    target: str,
    colour: str,
) -> tuple[Figure, str]:
    """Predicted over measured on equal axes, in laboratory units.

    Args:
        measured: (n,), finite.
        predicted: Legend -> (n,); the last is drawn in `colour` on top, those before in grey.
        bounds: Ends (n,) of the last one's intervals, drawn as light lines; what leaves the picture is cut off.
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
    if bounds is not None and len(measured) <= MANY_INTERVALS:
        axes.vlines(measured, *bounds, color=colour, alpha=0.22, linewidth=0.7, zorder=1)
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
def learning_curves(curves: dict[str, dict[int, float]], targets: Sequence[str]) -> tuple[Figure, str]:
    """The RMSE over the number of soils, as a multiple of that with all of them.

    Args:
        curves: Target -> {soils, ascending: RMSE}.
        targets: All, for their colours.
    """
    figure = Figure(figsize=HALF, layout="constrained")
    axes = figure.subplots()
    told = []
    for target, style in line_styles(targets).items():
        if target in curves:
            soils, rmse = zip(*curves[target].items(), strict=True)
            multiples = np.array(rmse) / (rmse[-1] or 1.0)
            line: dict[str, Any] = {"marker": "o", "markersize": 3.5, **style}
            axes.plot(soils, multiples, label=shortened(target), **line)
            points = (f"{count} soils {one:.2f}" for count, one in zip(soils, multiples, strict=True))
            told.append(f"{target} {', '.join(points)}")
    axes.axhline(1, color="0.5", linewidth=0.7, linestyle=":")
    axes.set_xlim(left=0)
    axes.set(xlabel="soils to learn from", ylabel="RMSE / RMSE with all", title="PLSR, cross-validated")
    legend_below(figure, axes)
    return figure, f"RMSE of PLSR as a multiple of that with all soils: {'; '.join(told)}"


@picture
def domain(learning: Array, test: Array, status: npt.NDArray[np.str_], limits: Array) -> tuple[Figure, str]:
    """Q over T2 with their limits on logarithmic axes: learning soils in grey, test soils by their status.

    Args:
        learning: (2, n) T2 and Q of learning soils, cross-validated.
        test: (2, m) of test soils; what is no number is not drawn.
        status: (m,) of the test soils.
        limits: (2,) of T2 and Q.
    """
    figure = Figure(figsize=(3.7, 3.7), layout="constrained")
    axes = figure.subplots()
    usual = status == "ok"
    clouds = {
        f"learning, left out: {learning.shape[1]}": (learning, GREY, "o"),
        f"test, within: {usual.sum()}": (test[:, usual], PALETTE[0], "o"),
        f"test, outside: {(~usual).sum()}": (test[:, ~usual], PALETTE[1], "D"),
    }
    # A distance of 0 has no place on a logarithmic axis; it stands at the side.
    drawn = np.concatenate([learning, test], axis=1)
    lowest = np.min(np.where(drawn > 0, drawn, np.inf), axis=1)
    for label, (points, colour, marker) in clouds.items():
        many = points.shape[1] > MANY_POINTS
        style: dict[str, Any] = {"linewidths": 0, "rasterized": many, "s": 4 if many else 11, "marker": marker}
        axes.scatter(*np.maximum(points, lowest[:, None]), label=label, color=colour, alpha=0.6, **style)
    axes.axvline(limits[0], color="0.3", linewidth=0.8, linestyle="--")
    axes.axhline(limits[1], color="0.3", linewidth=0.8, linestyle="--")
    axes.set(xscale="log", yscale="log", xlabel="T² (distance from the mean)", ylabel="Q (what is new)")
    for one in (axes.xaxis, axes.yaxis):
        one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        one.set_minor_formatter(NullFormatter())
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", handletextpad=0.2, markerscale=1.5)
    return figure, f"Q over T2 with their limits. Soils {', '.join(labels)}"
