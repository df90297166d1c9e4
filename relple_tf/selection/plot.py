"""The picture of a selection: selected samples over the scores of all samples."""

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relple_tf.report.plots.figures import GREY, PALETTE, STYLE, Array, shortened
from relple_tf.selection.selecting import Selection

SIGNATURE = "relple_tf.select"
"""Entry `Software` of the file, by which `relple_tf.select` recognises its pictures."""
MOST_NUMBERS = 60
"""With more selected samples, their numbers would hide the plot."""
MOST_COLOURED_GROUPS = len(PALETTE)


def selection_png(selection: Selection) -> bytes:
    """The picture as a PNG file; equal selections give equal bytes."""
    stream = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure = _figure(selection)
        figure.savefig(stream, format="png", dpi=200, metadata={"Software": SIGNATURE})
    return stream.getvalue()


def _figure(selection: Selection) -> Figure:
    """Scores of components 1 and 2, and of 1 and 3 if there are three."""
    components = selection.scores.shape[1]
    pairs = [(0, 1), (0, 2)][: max(1, min(components - 1, 2))]
    figure = Figure(figsize=(4.1 * len(pairs) + 0.2, 4.6), layout="constrained")
    for axes, (x, y) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        _scatter(axes, selection, x, y)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2 * len(pairs))
    return figure


def _scatter(axes: Axes, selection: Selection, x: int, y: int) -> None:
    """Calibration set in grey, all samples as open circles, the selected samples in colour with their numbers."""
    scores, calibration = _two_columns(selection.scores, x, y), _two_columns(selection.calibration_scores, x, y)
    other = ~selection.passed_over
    other[selection.rows] = False
    if len(calibration):
        axes.scatter(
            calibration[:, 0],
            calibration[:, 1],
            s=5,
            color=GREY,
            linewidths=0,
            label=f"scans of the run ({len(calibration)})",
        )
    if count := int(selection.passed_over.sum()):
        passed = scores[selection.passed_over]
        axes.scatter(
            passed[:, 0], passed[:, 1], s=14, color="0.35", linewidths=0.7, marker="x", label=f"passed over ({count})"
        )
    style: dict[str, Any] = {"facecolors": "none", "edgecolors": "0.45", "linewidths": 0.5}
    axes.scatter(scores[other, 0], scores[other, 1], s=9, label=f"not selected ({int(other.sum())})", **style)
    for label, places, colour in _coloured(selection):
        axes.scatter([], [], s=46, color=colour, linewidths=0, label=label)
        for place in places.tolist():
            _selected(axes, scores[selection.rows[place]], place, len(selection.rows), colour)
    _limits(axes, scores, calibration)
    axes.set(xlabel=f"score {x + 1}", ylabel=f"score {y + 1}" if scores[:, 1].any() else "")


def _selected(axes: Axes, point: Array, place: int, count: int, colour: str) -> None:
    """A selected sample with its number; where two overlap, the first in the list is on top, with its number."""
    (x, y), above = point.tolist(), 3.0 + (count - place) / count
    axes.scatter([x], [y], s=46, color=colour, edgecolors="white", linewidths=0.6, zorder=above)
    if count <= MOST_NUMBERS:
        style: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": 5, "color": "white"}
        axes.text(x, y, str(place + 1), zorder=above, **style)


def _two_columns(scores: Array, x: int, y: int) -> Array:
    """(n, 2) of the scores (n, components); zeros for a component that does not exist."""
    filled = np.pad(scores, ((0, 0), (0, max(0, y + 1 - scores.shape[1]))))
    return filled[:, [x, y]]


def _coloured(selection: Selection) -> list[tuple[str, Array, str]]:
    """Label, places in the list and colour of the selected samples: by group, if there are not too many groups."""
    everything = [(f"selected ({len(selection.rows)})", np.arange(len(selection.rows)), PALETTE[0])]
    if "group" not in selection.table:
        return everything
    groups = selection.table["group"].to_numpy()
    names = list(dict.fromkeys(groups))
    if len(names) > MOST_COLOURED_GROUPS:
        return everything
    return [
        (
            f"selected, {f'group {shortened(name)}' if name else 'no group'} ({np.sum(groups == name)})",
            np.flatnonzero(groups == name),
            colour,
        )
        for name, colour in zip(names, PALETTE, strict=False)
    ]


def _limits(axes: Axes, scores: Array, calibration: Array) -> None:
    """Show all samples, and the calibration set without its farthest soils, which could squeeze the rest."""
    shown = [scores]
    if len(calibration):
        shown.append(np.quantile(calibration, (0.005, 0.995), axis=0))
    low, high = np.concatenate(shown).min(axis=0), np.concatenate(shown).max(axis=0)
    margin = 0.06 * np.where(high > low, high - low, 1.0)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
