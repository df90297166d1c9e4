"""The report's pictures of soils: what was measured and estimated, and how far they lie from the training soils."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from relple_tf.evaluation.pictures import GREY, HALF, Array, picture, shortened

MANY_POINTS = 1500
"""A scatter of more points is stored as pixels, else the report grows without showing more."""


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
