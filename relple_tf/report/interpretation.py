"""Interpretation of the calibration of a target in words, by rules that the page states."""

from collections.abc import Mapping
from typing import Any

from relple_tf.evaluation.formatting import digits, percent, texts
from relple_tf.evaluation.recommendations import plsr_is_better
from relple_tf.evaluation.result import RunResult

USES = {
    "suitable for quantitative use": {"rpiq": 2.5, "rpd": 2.0},
    "suitable for screening": {"rpiq": 1.5, "rpd": 1.4},
}
"""Minimum test metrics for each use; both are required: RPIQ is optimistic for bimodal targets."""
NO_USE = "not suitable for prediction"

CLOSE = 0.05
"""RMSEs that differ by less than this fraction are called about equal."""


def use(figures: Mapping[str, float]) -> str:
    """The most demanding use whose minimum metrics are all reached."""
    for name, minimum in USES.items():
        if all(figures[metric] >= bound for metric, bound in minimum.items()):
            return name
    return NO_USE


def rule() -> str:
    """USES as text."""
    return "; ".join(
        f"{name} if RPIQ ≥ {minimum['rpiq']:g} and RPD ≥ {minimum['rpd']:g}" for name, minimum in USES.items()
    )


def compared_with_plsr(model: float, plsr: float) -> str:
    """The RMSE of the deployed model compared with that of PLSR on the same soils."""
    change = model / plsr - 1 if plsr else 0.0
    if abs(change) < CLOSE:
        return "about equal to PLSR's"
    return f"{percent(abs(change))} {'above' if change > 0 else 'below'} PLSR's"


def interpretation(result: RunResult, target: str, facts: Mapping[str, Any]) -> str:
    """A paragraph about a target.

    Args:
        result: The run.
        target: Its name.
        facts: Its entry in the card.
    """
    network, plsr = result.metrics["test"][target], result.metrics["baseline"]["plsr"][target]
    shown, plsr_cv, new_group = texts(network), result.plsr.left_out[target], result.plsr.new_groups.get(target)
    where = "" if new_group is None else " in the fields of the calibration set"
    sentences = [
        f"{use(network)}{where}: RPIQ {shown['rpiq']} and RPD {shown['rpd']} on {shown['n']} test soils",
        f"RMSE {number_with_unit(shown['rmse'], facts['unit'])}, {compared_with_plsr(network['rmse'], plsr['rmse'])}",
        interval_sentence(facts["interval"], facts["unit"]),
        f"{percent(result.outside)} of the test scans are outside the domain or invalid",
    ]
    if result.fitted.cross_fit is not None and plsr_is_better(
        network_cv := result.metrics["validation"][target], plsr_cv
    ):
        sentences.append(
            "In cross-validation on the calibration set PLSR is more accurate: "
            f"RMSE {digits(plsr_cv.rmse)}, the deployed model {digits(network_cv['rmse'])}"
        )
    if new_group is not None and new_group.r2 < plsr_cv.r2:
        sentences.append(
            "Expect a lower accuracy in a new field: the cross-validated R² of PLSR is "
            f"{new_group.r2:z.2f} with whole fields left out, {plsr_cv.r2:z.2f} with fields divided as in this split"
        )
    return ". ".join(sentences) + "."


def interval_sentence(interval: Mapping[str, Any] | None, unit: str) -> str:
    """Width and coverage of the prediction intervals on the test soils."""
    if interval is None:
        return "There are no prediction intervals, because training.cv_folds is 0"
    if interval["half_width"] is None:
        return f"There are no prediction intervals, because {interval['n']} soils are too few to compute them"
    test, name = interval["test"], f"{percent(interval['coverage'])} prediction interval"
    if not test["n"]:
        return f"The width of the {name} is unknown, because no test soil has a laboratory value"
    half_width = f"±{number_with_unit(digits(test['typical_half_width'], 2), unit)}"
    coverage = f"contains {percent(test['coverage'])} of {test['n']} laboratory values"
    return f"The {name} is typically {half_width} and {coverage} of the test set"


def number_with_unit(number: str, unit: str) -> str:
    """A number with its unit."""
    # An RMSE in `%` next to a difference in `%` would be ambiguous.
    return f"{number} {'percentage points' if unit == '%' else unit}".rstrip()
