"""What a target's calibration is good for, in plain words by rules that the page states."""

from collections.abc import Mapping
from typing import Any

from relple_tf.evaluation.formatting import digits, percent, texts
from relple_tf.evaluation.recommendations import plsr_serves_better
from relple_tf.evaluation.result import RunResult

USES = {
    "suited for quantitative use": {"rpiq": 2.5, "rpd": 2.0},
    "suited for screening": {"rpiq": 1.5, "rpd": 1.4},
}
"""What the network's test figures must reach for a use: both, for RPIQ flatters two-humped targets."""
NO_USE = "not suited for prediction"

CLOSE = 0.05
"""RMSE that differ by less than this share are called about equal."""


def use(figures: Mapping[str, float]) -> str:
    """The highest use of which all bounds are reached."""
    for name, least in USES.items():
        if all(figures[figure] >= bound for figure, bound in least.items()):
            return name
    return NO_USE


def rule() -> str:
    """USES in words."""
    return "; ".join(f"{name} from RPIQ {least['rpiq']:g} and RPD {least['rpd']:g}" for name, least in USES.items())


def against_plsr(own: float, plsr: float) -> str:
    """An RMSE beside that of PLSR on the same soils."""
    change = own / plsr - 1 if plsr else 0.0
    if abs(change) < CLOSE:
        return "about equal to PLSR's"
    return f"{percent(abs(change))} {'above' if change > 0 else 'below'} PLSR's"


def interpretation(result: RunResult, target: str, facts: Mapping[str, Any]) -> str:
    """A paragraph on one target.

    Args:
        result: The run.
        target: Its name.
        facts: Its entry in the card.
    """
    own, other = result.metrics["test"][target], result.metrics["baseline"]["plsr"][target]
    shown, plsr, group = texts(own), result.plsr.left_out[target], result.plsr.new_groups.get(target)
    where = "" if group is None else " in the fields that it was trained in"
    sentences = [
        f"{use(own)}{where}: RPIQ {shown['rpiq']} and RPD {shown['rpd']} on {shown['n']} test soils",
        f"RMSE {_in(facts['unit'], shown['rmse'])}, {against_plsr(own['rmse'], other['rmse'])}",
        interval_sentence(facts["interval"], facts["unit"]),
        f"{percent(result.outside)} of the test scans lie outside the domain",
    ]
    if result.fitted.cross_fit is not None and plsr_serves_better(
        network := result.metrics["validation"][target], plsr
    ):
        sentences.append(
            "On the learning soils, cross-validated, PLSR serves better: "
            f"RMSE {digits(plsr.rmse)} against the network's {digits(network['rmse'])}"
        )
    if group is not None and group.r2 < plsr.r2:
        sentences.append(
            f"Expect less in a new field: PLSR's cross-validated R² is {group.r2:z.2f} with whole fields left out, "
            f"{plsr.r2:z.2f} with fields divided as here"
        )
    return ". ".join(sentences) + "."


def interval_sentence(interval: Mapping[str, Any] | None, unit: str) -> str:
    """How wide the intervals of the test soils are and how many of the laboratory's values they hold."""
    if interval is None:
        return "It has no intervals, for no network left soils out (training.cv_folds is 0)"
    if interval["half_width"] is None:
        return f"It has no intervals, for {interval['n']} soils are too few to tell"
    found, name = interval["test"], f"{percent(interval['coverage'])} interval"
    if not found["n"]:
        return f"No test soil with a laboratory value tells how wide the {name} is"
    reach = f"is typically ±{_in(unit, digits(found['typical_half_width'], 2))}"
    return f"The {name} {reach} and held {percent(found['coverage'])} of {found['n']} laboratory values"


def _in(unit: str, number: str) -> str:
    # `8 % below` after an error of `7 %` would be a riddle.
    return f"{number} {'percentage points' if unit == '%' else unit}".rstrip()
