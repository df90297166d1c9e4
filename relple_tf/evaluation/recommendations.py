"""Notes for the user of a run: the targets for which PLSR is more accurate, and the accuracy in a new field.

Computed from development rows only, so that the test scores stay unbiased by any choice.
"""

from typing import Any

from relple_tf.baselines.plsr import CrossValidated
from relple_tf.baselines.plsr_baseline import PlsrBaseline
from relple_tf.evaluation.formatting import digits

MARGIN = 0.02
"""PLSR is recommended if its cross-validated RMSE is below the deployed model's by more than this fraction."""


def plsr_is_better(network: dict[str, Any], plsr: CrossValidated) -> bool:
    """Whether PLSR's cross-validated RMSE is below the deployed model's (from `metrics.scores`) by more than MARGIN."""
    return bool(plsr.rmse < (1 - MARGIN) * network["rmse"])


def recommendations(networks: dict[str, dict[str, Any]], plsr: PlsrBaseline) -> tuple[str, ...]:
    """Notes for the terminal, the card and the report.

    Args:
        networks: Target -> metrics of the stacked out-of-fold predictions; empty without cross-validation.
        plsr: On the same soils.
    """
    notes = []
    if plsr.new_groups:
        comparison = "; ".join(
            f"{target} R2 {plsr.left_out[target].r2:z.2f} with fields divided, "
            f"{new_group.r2:z.2f} with whole fields left out"
            for target, new_group in plsr.new_groups.items()
        )
        notes.append(f"PLSR, cross-validated: {comparison}; expect the second value in a new field")
    for target, figures in networks.items():
        cross_validated = plsr.left_out[target]
        if plsr_is_better(figures, cross_validated):
            notes.append(
                f"PLSR is more accurate for {target}: cross-validated RMSE {digits(cross_validated.rmse)}, "
                f"the deployed model {digits(figures['rmse'])}"
            )
    return tuple(notes)
