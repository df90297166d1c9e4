"""The tables of the report as rows of HTML."""

import math
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from relple_tf.evaluation.formatting import COLUMNS, digits, percent, texts
from relple_tf.evaluation.result import RunResult

MOST_OUTLIERS = 12
"""Maximum number of rows in the report; `outliers.csv` has all outliers."""


def score_rows(result: RunResult, target: str, unit: str) -> str:
    """The metrics of a target: deployed model and PLSR, on the test set and cross-validated on the development set."""
    network, plsr = result.metrics["test"][target], result.metrics["baseline"]["plsr"][target]
    cross_validated = result.plsr.left_out[target]
    plsr_cv = {"n": cross_validated.n, "rmse": cross_validated.rmse, "r2": cross_validated.r2}
    network_part = "CV" if result.fitted.cross_fit is not None else "validation"
    lines = {
        "deployed model": cells(network, plsr),
        f"PLSR ({result.plsr.components[target]})": cells(plsr, network),
        f"deployed model, {network_part}": cells(result.metrics["validation"][target]),
        "PLSR, CV": cells(plsr_cv),
    }
    head = f'<th rowspan="{len(lines)}" scope="rowgroup">{_target_with_unit(target, unit)}</th>'
    rows = [f'<td class="model">{model}</td>{numbers}</tr>' for model, numbers in lines.items()]
    return f"<tbody>\n<tr>{head}" + "\n<tr>".join(rows) + "\n</tbody>"


def cells(figures: dict[str, float], others: dict[str, float] | None = None) -> str:
    """Table cells; R2 and RMSE are bold if they are better than the others' in the digits shown."""
    shown, others_shown, better = texts(figures), {}, {}
    if others is not None:
        others_shown = texts(others)
        better = {"r2": figures["r2"] > others["r2"], "rmse": figures["rmse"] < others["rmse"]}
    return "".join(
        f"<td><strong>{shown[name]}</strong></td>"
        if better.get(name) and shown[name] != others_shown[name]
        else f"<td>{shown.get(name, '')}</td>"
        for name in COLUMNS
    )


def interval_rows(targets: Mapping[str, Any]) -> str:
    """Nominal coverage of each target's prediction interval, and its width and coverage on the test soils.

    Args:
        targets: Entry `targets` of the card.
    """
    rows = []
    for target, facts in targets.items():
        interval = facts["interval"] or {"coverage": None, "n": 0, "test": {}}
        test = interval["test"]
        width = test.get("typical_half_width")
        numbers = (
            _percent_or_empty(interval["coverage"]),
            f"{interval['n']}",
            "none" if width is None else f"±{digits(width, 2)}",
            _percent_or_empty(test.get("coverage")),
            f"{test.get('n', 0)}",
        )
        shown = "".join(f"<td>{cell}</td>" for cell in numbers)
        rows.append(f'<tr><th scope="row">{_target_with_unit(target, facts["unit"])}</th>{shown}</tr>')
    return "<tbody>\n" + "\n".join(rows) + "\n</tbody>"


def domain_rows(result: RunResult) -> str:
    """Limits of T2 and Q, and the percentage of soils beyond them."""
    train, test, limits = result.parts == "train", result.parts == "test", result.fitted.reliability.limits
    beyond = {
        "T²": (limits.t2, result.fitted.reliability.t2[train] > limits.t2, result.t2[test] > limits.t2),
        "Q": (limits.q, result.fitted.reliability.q[train] > limits.q, result.q[test] > limits.q),
    }
    either = np.logical_or(*(is_beyond for _, is_beyond, _ in beyond.values())).mean()
    lines = [
        (name, digits(limit), percent(train_beyond.mean()), percent(test_beyond.mean()))
        for name, (limit, train_beyond, test_beyond) in beyond.items()
    ]
    lines.append(("either", "", percent(either), percent(result.outside)))
    rows = [
        f'<tr><th scope="row">{line[0]}</th>{"".join(f"<td>{cell}</td>" for cell in line[1:])}</tr>' for line in lines
    ]
    return "<tbody>\n" + "\n".join(rows) + "\n</tbody>"


def outlier_rows(result: RunResult) -> str:
    """The most extreme outliers, with the reason."""
    rows = [
        f'<tr><th scope="row">{escape(str(row.id))}</th>{_multiple(row.t2_by_limit)}{_multiple(row.q_by_limit)}'
        f'<td class="words">{escape(row.reason)}</td></tr>'
        for row in result.outliers.head(MOST_OUTLIERS).itertuples()
    ]
    return "<tbody>\n" + "\n".join(rows) + "\n</tbody>"


def _multiple(ratio: float) -> str:
    """T2 or Q divided by its limit; bold if above 1."""
    text = f"{ratio:.2f}" if math.isfinite(ratio) else "none"
    return f"<td><strong>{text}</strong></td>" if ratio > 1 else f"<td>{text}</td>"


def _target_with_unit(target: str, unit: str) -> str:
    return f'{escape(target)}<br><span class="unit">{escape(unit or "no unit")}</span>'


def _percent_or_empty(fraction: float | None) -> str:
    return "" if fraction is None else percent(fraction)
