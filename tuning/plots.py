"""Plots of the search page, in the size, style and colours of the other pages."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from relple_tf.report.plots.figures import GREY, HALF, PALETTE, WIDE, picture, shortened

Floats = npt.NDArray[np.float64]

BEST = PALETTE[1]


@picture
def progress(
    x: Floats, scores: Floats, full_epochs: npt.NDArray[np.bool_], failed: Floats, *, axis: str
) -> tuple[Figure, str]:
    """Score of each trial over its number or time, and the best score so far.

    Args:
        x: (n,) number or time of the completed trials.
        scores: (n,).
        full_epochs: (n,) whether a trial was trained for all epochs.
        failed: (m,) number or time of the failed trials.
        axis: Label of the x axis.
    """
    figure = Figure(figsize=HALF, layout="constrained")
    axes = figure.subplots()
    order = np.argsort(x, kind="stable")
    axes.step(x[order], np.maximum.accumulate(scores[order]), where="post", color=BEST)
    axes.scatter(x[full_epochs], scores[full_epochs], s=14, color=PALETTE[0], linewidths=0, zorder=3)
    axes.scatter(
        x[~full_epochs], scores[~full_epochs], s=14, facecolors="none", edgecolors=PALETTE[0], linewidths=0.8, zorder=3
    )
    low, high = limits(scores)
    hidden = scores < low
    axes.scatter(x[hidden], np.full(hidden.sum(), low), s=22, color=PALETTE[0], marker="v", clip_on=False, zorder=3)
    axes.plot(failed, np.full(len(failed), low), "x", color="0.3", markersize=5, clip_on=False)
    axes.set_ylim(low, high)
    axes.set(xlabel=axis, ylabel="score (R²)")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=axis == "trial"))
    return figure, f"score over {axis}: best {scores.max():.3f} of {len(scores)} trials, {len(failed)} failed"


def limits(scores: Floats) -> tuple[float, float]:
    """Limits of a score axis, chosen so that a few very low scores do not compress all others."""
    low, middle, high = np.percentile(scores, [0, 50, 100])
    low = max(low, middle - 4 * max(high - middle, 0.01))
    margin = 0.06 * max(high - low, 0.01)
    return float(low - margin), float(high + margin)


@picture
def importance_bars(losses: pd.Series) -> tuple[Figure, str]:
    """Importance of each field, the largest first."""
    figure = Figure(figsize=(WIDE[0], 0.8 + 0.22 * len(losses)), layout="constrained")
    axes = figure.subplots()
    axes.barh(np.arange(len(losses)), losses.to_numpy(), color=PALETTE[0], height=0.7)
    axes.set_yticks(range(len(losses)), [shortened(str(name), 32) for name in losses.index])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="loss of R² of the forest when the field is shuffled")
    largest = ", ".join(f"{name} {value:.2f}" for name, value in losses.head(5).items())
    return figure, f"importance of the fields: {largest}"


@picture
def parallel(
    names: Sequence[str], values: Floats, scores: Floats, ends: Sequence[tuple[str, str]]
) -> tuple[Figure, str]:
    """One line per trial through its values, coloured by score.

    Args:
        names: Fields, as axes from left to right.
        values: (n, fields), scaled to 0..1.
        scores: (n,).
        ends: Labels of the lower and the upper end of each axis.
    """
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    low, high = limits(scores)
    colours = matplotlib.colormaps["cividis"](np.clip((scores - low) / (high - low), 0, 1))
    columns = np.arange(len(names) + 1)
    best = int(np.argmax(scores))
    rng = np.random.default_rng(0)  # jitter: fields have few options, so lines would hide each other
    heights = np.column_stack([values, np.clip((scores - low) / (high - low), 0, 1)])
    heights[:, :-1] += rng.uniform(-0.02, 0.02, values.shape)
    for trial in np.argsort(scores):
        colour = BEST if trial == best else colours[trial]
        axes.plot(columns, heights[trial], color=colour, linewidth=1.8 if trial == best else 0.8, alpha=0.9)
    for column, (below, above) in enumerate([*ends, (f"{low:.2f}", f"{high:.2f}")]):
        axes.axvline(column, color=GREY, linewidth=0.8, zorder=0)
        axes.text(column, -0.07, shortened(below, 13), ha="center", va="top", fontsize=7)
        axes.text(column, 1.07, shortened(above, 13), ha="center", va="bottom", fontsize=7)
    labels = [*(name.rpartition(".")[2].replace("_", "\n") for name in names), "score"]
    axes.set_xticks(columns, labels)
    axes.tick_params(axis="x", length=0, pad=12)
    axes.set_ylim(-0.05, 1.05)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return figure, f"values and score of {len(scores)} trials through {', '.join(names)}"


@picture
def pareto(
    costs: Floats, scores: Floats, on_front: Sequence[int], *, axis: str, limit: float | None
) -> tuple[Figure, str]:
    """Score over a cost, with the Pareto front; the limit is a dashed line."""
    figure = Figure(figsize=HALF, layout="constrained")
    axes = figure.subplots()
    low, high = limits(scores)
    shown = scores >= low
    axes.plot(costs[list(on_front)], scores[list(on_front)], color=BEST, drawstyle="steps-post", zorder=2)
    _points(axes, costs[shown], scores[shown])
    if limit is not None:
        axes.axvline(limit, color="0.3", linestyle="--", linewidth=0.8)
    axes.set_ylim(low, high)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda cost, _: f"{cost:g}")
    )  # the default formats powers of ten in TeX
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=axis, ylabel="score (R²)")
    points = "; ".join(f"{scores[trial]:.3f} at {costs[trial]:.4g}" for trial in on_front)
    return figure, f"score over {axis}; front: {points}"


def _points(axes: Axes, x: Floats, y: Floats) -> None:
    axes.scatter(x, y, s=14, color=PALETTE[0], linewidths=0, zorder=3)
