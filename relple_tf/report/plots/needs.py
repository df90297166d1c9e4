"""Plot of keep or send: the share of scans kept against the need, and the error among them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from relple_tf.report.plots.figures import picture, shortened

FEWEST = 5
"""Errors among fewer kept soils are not drawn, because they are too uncertain."""


@picture
def need_curve(
    points: Sequence[Mapping[str, Any]],
    *,
    marked: float,
    coverage: float,
    rmse: float,
    target: str,
    name: str,
    unit: str,
    colour: str,
) -> tuple[Figure, str]:
    """Share of test scans kept and error among them against the need, as steps.

    Args:
        points: From `keep_or_send.curve_point`, needs ascending; at least one.
        marked: Need of the sentence below the plot.
        coverage: Nominal coverage of the intervals.
        rmse: RMSE of all test soils.
        target: Name with unit.
        name: Name as in the data, for the description.
        unit: Unit of the need; may be empty.
        colour: Colour of the target.
    """
    figure = Figure(figsize=(3.7, 4.4), layout="constrained")
    shares, errors = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    last = max(1.05 * points[-1]["need"], 1.5 * points[0]["need"])  # the latter shows a single step
    needs = [0.0, *(point["need"] for point in points), last]

    def steps(first: float, values: Sequence[float]) -> list[float]:
        return [first, *values, values[-1]]

    drawn = [point["n"] >= FEWEST for point in points]
    beyond = [100 * point["beyond"] if has else np.nan for point, has in zip(points, drawn, strict=True)]
    kept_rmse = [point["rmse"] if has else np.nan for point, has in zip(points, drawn, strict=True)]
    line: dict[str, Any] = {"drawstyle": "steps-post", "color": colour}
    kept = steps(0.0, [100 * point["kept"] for point in points])
    shares.plot(needs, kept, label="kept, % of the test scans", **line)
    label = "error above the need, % of the kept soils"
    shares.plot(needs, steps(np.nan, beyond), label=label, **line | {"color": "0.25", "linestyle": "--"})
    at_most = f"nominal share outside the intervals, {100 * (1 - coverage):.0f} %"
    shares.axhline(100 * (1 - coverage), color="0.5", linewidth=0.7, linestyle=":", label=at_most)
    errors.plot(needs, steps(np.nan, kept_rmse), **line)
    errors.axhline(rmse, color="0.5", linewidth=0.7, linestyle=":")
    errors.annotate(
        "RMSE of all test soils; line: of the kept",
        (0.01, rmse),
        xycoords=("axes fraction", "data"),
        fontsize=7,
        va="bottom",
    )
    for axes in (shares, errors):
        axes.axvline(marked, color="0.8", linewidth=0.8, zorder=0)
    shares.set(ylim=(-2, 102), xlim=(0, max(last, 1.02 * marked)), title=shortened(target, 32))
    shares.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    highest = np.nanmax([rmse, *kept_rmse])
    errors.set(ylim=(0, 1.25 * highest), xlabel=f"need (± {unit})" if unit else "need (±)")
    errors.set_ylabel(f"RMSE ({unit})" if unit else "RMSE")
    errors.yaxis.set_major_locator(MaxNLocator(4))
    errors.xaxis.set_major_locator(MaxNLocator(6))
    figure.legend(*shares.get_legend_handles_labels(), loc="outside lower left", ncols=1)
    return figure, f"Test scans kept against the need of {name}: {description(points)}"


def description(points: Sequence[Mapping[str, Any]]) -> str:
    """About five of the points in words."""
    some = points[:: max(1, (len(points) - 1) // 4)]
    return "; ".join(f"need {point['need']:.3g}: {100 * point['kept']:.0f} % kept" for point in some)
