"""Plots of the training: scores, loss and loss weights by epoch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from relple_tf.report.plots.figures import HALF, legend_below, line_styles, picture, shortened

LOWEST_R2 = -0.5
"""Lower end of the axis; with lower values the other curves would coincide."""


@picture
def validation_curves(history: pd.DataFrame, targets: Sequence[str], *, cross_validated: bool) -> tuple[Figure, str]:
    """R2 of each target and the score on validation rows or held-out folds, by epoch.

    Args:
        history: A row per epoch.
        targets: Names of all targets.
        cross_validated: The history is the mean over the networks of the folds. Otherwise it is that of a single
            network, and its best epoch, whose weights are used, is marked.
    """
    figure, axes = _epochs(history)
    columns = [f"validation_r2_{target}" for target in targets]
    curves = history[[*columns, "validation_score"]].replace(-np.inf, np.nan)
    for column, (target, style) in zip(columns, line_styles(targets).items(), strict=True):
        _curve(axes, history["epoch"], curves[column], label=shortened(target), **style)
    scores = curves["validation_score"]
    _curve(axes, history["epoch"], scores, label="score", color="k", linewidth=1.6)
    summary = "no epoch has a finite score"
    name = "Cross-validation" if cross_validated else "Validation"
    if cross_validated and pd.notna(scores.iloc[-1]):
        summary = f"score {scores.iloc[-1]:.2f} at the end"
    elif scores.notna().any():
        best = scores.idxmax()
        epoch, score = int(history.loc[best, "epoch"]), float(scores[best])
        summary = f"best epoch {epoch}, score {score:.2f}"
        axes.axvline(epoch, color="0.5", linewidth=0.7, linestyle=":")
        axes.plot(epoch, score, "o", color="k", markersize=4.5)
    lowest, highest = np.nanmin([0.0, *curves.min()]), np.nanmax([0.0, *curves.max()])
    axes.set_ylim(max(lowest, LOWEST_R2) - 0.02, max(1.0, highest))
    axes.set(ylabel="R², score", title=f"{name}: {summary}")
    legend_below(figure, axes)
    return figure, f"{name}: R2 by epoch of {', '.join(targets)} on soils not trained on, and the score; {summary}"


@picture
def loss_curve(history: pd.DataFrame) -> tuple[Figure, str]:
    """The joint training loss by epoch."""
    figure, axes = _epochs(history)
    _curve(axes, history["epoch"], history["loss"], color="k")
    axes.set(ylabel="joint loss", title="Training")
    return figure, "Joint training loss by epoch"


@picture
def loss_weights(history: pd.DataFrame, targets: Sequence[str]) -> tuple[Figure, str]:
    """The weight of each target's loss in the joint loss, by epoch."""
    figure, axes = _epochs(history)
    for target, style in line_styles(targets).items():
        label = shortened(target)
        _curve(axes, history["epoch"], history[f"weight_{target}"], label=label, **style)
    weights = history[[f"weight_{target}" for target in targets]].to_numpy()
    highest = np.max(weights[np.isfinite(weights)], initial=0.0)  # epoch 0, before training, has no weights
    axes.set_ylim(0, 1.08 * highest or 1.0)
    axes.set(ylabel="weight", title="Weight of each target in the joint loss")
    legend_below(figure, axes)
    return figure, f"Joint-loss weights by epoch of {', '.join(targets)}"


def _epochs(history: pd.DataFrame) -> tuple[Figure, Axes]:
    figure = Figure(figsize=HALF, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(history["epoch"].min() - 0.5, history["epoch"].max() + 0.5)
    return figure, axes


def _curve(axes: Axes, epochs: pd.Series, values: pd.Series, **style: Any) -> None:
    """A line; with few epochs also points, because a single epoch gives no line."""
    axes.plot(epochs, values, marker="." if len(epochs) < 10 else None, markersize=4, **style)
