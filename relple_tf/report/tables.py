"""The report's tables: rows of HTML from the figures of a run."""

import math
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from relple_tf.evaluation.formatting import COLUMNS, digits, percent, texts
from relple_tf.evaluation.result import RunResult

MOST_OUTLIERS = 12
"""Rows of the page's table; `outliers.csv` has all."""


def score_rows(result: RunResult, target: str, unit: str) -> str:
    """A target's figures: network and PLSR on the test soils, and both on learning soils that were left out."""
    own, plsr = result.metrics["test"][target], result.metrics["baseline"]["plsr"][target]
    chosen = result.plsr.left_out[target]
    known = {"n": chosen.n, "rmse": chosen.rmse, "r2": chosen.r2}
    left_out = "CV" if result.fitted.cross_fit is not None else "validation"
    lines = {
        "network": cells(own, plsr),
        f"PLSR ({result.plsr.components[target]})": cells(plsr, own),
        f"network, {left_out}": cells(result.metrics["validation"][target]),
        "PLSR, CV": cells(known),
    }
    head = f'<th rowspan="{len(lines)}" scope="rowgroup">{_named(target, unit)}</th>'
    rows = [f'<td class="model">{model}</td>{found}</tr>' for model, found in lines.items()]
    return f"<tbody>\n<tr>{head}" + "\n<tr>".join(rows) + "\n</tbody>"


def cells(figures: dict[str, float], others: dict[str, float] | None = None) -> str:
    """Table cells; R2 and RMSE are bold where they are better than the others' and look so."""
    shown, beside, better = texts(figures), {}, {}
    if others is not None:
        beside = texts(others)
        better = {"r2": figures["r2"] > others["r2"], "rmse": figures["rmse"] < others["rmse"]}
    return "".join(
        f"<td><strong>{shown[name]}</strong></td>"
        if better.get(name) and shown[name] != beside[name]
        else f"<td>{shown.get(name, '')}</td>"
        for name in COLUMNS
    )


def interval_rows(targets: Mapping[str, Any]) -> str:
    """What each target's interval promises and what it does on the test soils.

    Args:
        targets: From the card.
    """
    rows = []
    for target, facts in targets.items():
        interval = facts["interval"] or {"coverage": None, "n": 0, "test": {}}
        test = interval["test"]
        width = test.get("typical_half_width")
        found = (
            _share(interval["coverage"]),
            f"{interval['n']}",
            "none" if width is None else f"±{digits(width, 2)}",
            _share(test.get("coverage")),
            f"{test.get('n', 0)}",
        )
        shown = "".join(f"<td>{cell}</td>" for cell in found)
        rows.append(f'<tr><th scope="row">{_named(target, facts["unit"])}</th>{shown}</tr>')
    return "<tbody>\n" + "\n".join(rows) + "\n</tbody>"


def domain_rows(result: RunResult) -> str:
    """Limits of the domain, and the share of soils that lie beyond them."""
    train, test, limits = result.parts == "train", result.parts == "test", result.fitted.reliability.limits
    beyond = {
        "T²": (limits.t2, result.fitted.reliability.t2[train] > limits.t2, result.t2[test] > limits.t2),
        "Q": (limits.q, result.fitted.reliability.q[train] > limits.q, result.q[test] > limits.q),
    }
    either = np.logical_or(*(learning for _, learning, _ in beyond.values())).mean()
    lines = [
        (name, digits(limit), percent(learning.mean()), percent(new.mean()))
        for name, (limit, learning, new) in beyond.items()
    ]
    lines.append(("either", "", percent(either), percent(result.outside)))
    rows = [
        f'<tr><th scope="row">{line[0]}</th>{"".join(f"<td>{cell}</td>" for cell in line[1:])}</tr>' for line in lines
    ]
    return "<tbody>\n" + "\n".join(rows) + "\n</tbody>"


def outlier_rows(result: RunResult) -> str:
    """The worst training soils, with the reason in words."""
    rows = [
        f'<tr><th scope="row">{escape(str(row.id))}</th>{_multiple(row.t2_by_limit)}{_multiple(row.q_by_limit)}'
        f'<td class="words">{escape(row.reason)}</td></tr>'
        for row in result.outliers.head(MOST_OUTLIERS).itertuples()
    ]
    return "<tbody>\n" + "\n".join(rows) + "\n</tbody>"


def _multiple(ratio: float) -> str:
    """A distance in multiples of its limit; bold beyond it."""
    text = f"{ratio:.2f}" if math.isfinite(ratio) else "none"
    return f"<td><strong>{text}</strong></td>" if ratio > 1 else f"<td>{text}</td>"


def _named(target: str, unit: str) -> str:
    return f'{escape(target)}<br><span class="unit">{escape(unit or "no unit")}</span>'


def _share(share: float | None) -> str:
    return "" if share is None else percent(share)
