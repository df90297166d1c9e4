"""The pictures of a search; size, style and colours are those of the other pages."""

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
    x: Floats, scores: Floats, whole: npt.NDArray[np.bool_], failed: Floats, *, axis: str
) -> tuple[Figure, str]:
    """Score of each trial over its number or its time, and the best so far.

    Args:
        x: (n,) of the trials that came to an end.
        scores: (n,).
        whole: (n,) trained for all epochs.
        failed: (m,) where those that failed stand on the same axis.
    """
    figure = Figure(figsize=HALF, layout="constrained")
    axes = figure.subplots()
    order = np.argsort(x, kind="stable")
    axes.step(x[order], np.maximum.accumulate(scores[order]), where="post", color=BEST)
    axes.scatter(x[whole], scores[whole], s=14, color=PALETTE[0], linewidths=0, zorder=3)
    axes.scatter(x[~whole], scores[~whole], s=14, facecolors="none", edgecolors=PALETTE[0], linewidths=0.8, zorder=3)
    low, high = limits(scores)
    hidden = scores < low
    axes.scatter(x[hidden], np.full(hidden.sum(), low), s=22, color=PALETTE[0], marker="v", clip_on=False, zorder=3)
    axes.plot(failed, np.full(len(failed), low), "x", color="0.3", markersize=5, clip_on=False)
    axes.set_ylim(low, high)
    axes.set(xlabel=axis, ylabel="score (R²)")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=axis == "trial"))
    return figure, f"score over {axis}: best {scores.max():.3f} of {len(scores)} trials, {len(failed)} failed"


def limits(scores: Floats) -> tuple[float, float]:
    """Ends of a score's axis: a few hopeless trials must not press all others flat."""
    low, middle, high = np.percentile(scores, [0, 50, 100])
    low = max(low, middle - 4 * max(high - middle, 0.01))
    margin = 0.06 * max(high - low, 0.01)
    return float(low - margin), float(high + margin)


@picture
def bars(lost: pd.Series) -> tuple[Figure, str]:
    """How much each field counts, most first."""
    figure = Figure(figsize=(WIDE[0], 0.8 + 0.22 * len(lost)), layout="constrained")
    axes = figure.subplots()
    axes.barh(np.arange(len(lost)), lost.to_numpy(), color=PALETTE[0], height=0.7)
    axes.set_yticks(range(len(lost)), [shortened(str(name), 32) for name in lost.index])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="R² that the forest loses when the field is shuffled")
    told = ", ".join(f"{name} {value:.2f}" for name, value in lost.head(5).items())
    return figure, f"importance of the fields: {told}"


@picture
def parallel(
    names: Sequence[str], places: Floats, scores: Floats, ends: Sequence[tuple[str, str]]
) -> tuple[Figure, str]:
    """One line per trial through its values, coloured by score.

    Args:
        names: Fields, as axes from left to right.
        places: (n, fields), 0 to 1.
        scores: (n,).
        ends: What stands at the lower and the upper end of each axis.
    """
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    low, high = limits(scores)
    colours = matplotlib.colormaps["cividis"](np.clip((scores - low) / (high - low), 0, 1))
    columns = np.arange(len(names) + 1)
    best = int(np.argmax(scores))
    rng = np.random.default_rng(0)  # options are few, so lines would hide each other
    heights = np.column_stack([places, np.clip((scores - low) / (high - low), 0, 1)])
    heights[:, :-1] += rng.uniform(-0.02, 0.02, places.shape)
    for trial in np.argsort(scores):
        ink = BEST if trial == best else colours[trial]
        axes.plot(columns, heights[trial], color=ink, linewidth=1.8 if trial == best else 0.8, alpha=0.9)
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
    """Score over what it costs, with the front; trial 0, the first, is a square, a limit a dashed line."""
    figure = Figure(figsize=HALF, layout="constrained")
    axes = figure.subplots()
    low, high = limits(scores)
    shown = scores >= low
    axes.plot(costs[list(on_front)], scores[list(on_front)], color=BEST, drawstyle="steps-post", zorder=2)
    _dots(axes, costs[shown], scores[shown])
    if limit is not None:
        axes.axvline(limit, color="0.3", linestyle="--", linewidth=0.8)
    axes.set_ylim(low, high)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:g}"))  # else powers of ten in TeX
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=axis, ylabel="score (R²)")
    told = "; ".join(f"{scores[place]:.3f} at {costs[place]:.4g}" for place in on_front)
    return figure, f"score over {axis}; front: {told}"


def _dots(axes: Axes, x: Floats, y: Floats) -> None:
    axes.scatter(x, y, s=14, color=PALETTE[0], linewidths=0, zorder=3)
