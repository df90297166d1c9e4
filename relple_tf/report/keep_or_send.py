"""The section "Keep or send" of the report: a plot and a sentence per target."""

from html import escape
from typing import Any

import numpy as np

from relple_tf.evaluation.formatting import digits, percent, with_unit
from relple_tf.evaluation.keep_or_send import curve_point, typical_need
from relple_tf.evaluation.need_curve import TestScans, needs_of, scans_of_test
from relple_tf.evaluation.result import RunResult
from relple_tf.report.interpretation import number_with_unit
from relple_tf.report.plots.figures import line_styles
from relple_tf.report.plots.needs import need_curve

MOST_POINTS = 200
"""Largest number of needs in a plot; more would enlarge the report and change nothing visible."""


def section(result: RunResult, units: dict[str, str]) -> str:
    """Plots and sentences of all targets as HTML.

    Args:
        result: The run.
        units: Target -> unit, may be empty.
    """
    plots, sentences = [], []
    for target, unit in units.items():
        scans = scans_of_test(result, target)
        text = "There is no curve, because there are no prediction intervals."
        if scans is not None:
            text = sentence(scans, unit, result.fitted.reliability.intervals[target].coverage)
            plots.append(plot(result, target, unit, scans))
        shown = escape(text, quote=False).replace(" %", "&nbsp;%")
        sentences.append(f'<p class="need"><strong>{escape(target)}</strong>: {shown}</p>')
    images = "\n".join(filter(None, plots))
    return (f'<div class="pictures">\n{images}\n</div>\n' if images else "") + "\n".join(sentences)


def plot(result: RunResult, target: str, unit: str, scans: TestScans) -> str:
    """The plot of a target; empty if no test scan is inside the domain."""
    needs = needs_of(scans, np.linspace(0, 1, MOST_POINTS))
    if not needs:
        return ""
    return need_curve(
        [curve_point(*scans, need) for need in needs],
        marked=_need_of_text(scans),
        coverage=result.fitted.reliability.intervals[target].coverage,
        rmse=result.metrics["test"][target]["rmse"],
        target=with_unit(target, unit),
        name=target,
        unit=unit,
        colour=line_styles(list(result.library.targets))[target]["color"],
    )


def sentence(scans: TestScans, unit: str, coverage: float) -> str:
    """What is kept with a typical need, and the error of that, in words.

    Args:
        scans: From `scans_of_test`.
        unit: Unit of the target, may be empty.
        coverage: Nominal coverage of the intervals.
    """
    widths = needs_of(scans, np.linspace(0, 1, MOST_POINTS))
    if not widths:
        return "No test scan is inside the domain, so none is kept, whatever the need."
    point = curve_point(*scans, _need_of_text(scans))
    need = f"±{number_with_unit(digits(point['need'], 2), unit)}"
    text = f"With a need of {need}, {percent(point['kept'])} of the {len(scans[0])} test scans are kept; "
    text += _errors(point, need, unit, coverage)
    if len(widths) == 1:
        width = f"±{number_with_unit(digits(widths[0]), unit)}"
        text += (
            f" All intervals inside the domain have the same half width, {width}: a smaller need keeps no scan, this "
            "need or a larger one every scan inside the domain."
        )
    return text


def _errors(point: dict[str, Any], need: str, unit: str, coverage: float) -> str:
    """The error among the kept soils."""
    if not point["n"]:
        return "none of these has a laboratory value."
    rmse = number_with_unit(digits(point["rmse"]), unit)
    return (
        f"{percent(1 - point['beyond'])} of the {point['n']} laboratory values of these are within {need} of the "
        f"prediction (nominal: at least {percent(coverage)}), and their RMSE is {rmse}."
    )


def _need_of_text(scans: TestScans) -> float:
    """The need of the sentence: the median half width of the scans inside the domain, rounded up to two digits."""
    half_width, status, _ = scans
    need = typical_need(half_width[status == "ok"])
    if need is None:
        raise ValueError("expected a test scan with status ok and an interval")
    return need
