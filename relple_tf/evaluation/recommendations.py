"""What a user should hear before using the network: where PLSR serves better, and what a new field will do.

Decided on learning rows only, so that the test scores stay those of soils that nothing was chosen on.
"""

from typing import Any

from relple_tf.baselines.plsr import CrossValidated
from relple_tf.baselines.plsr_baseline import PlsrBaseline
from relple_tf.evaluation.formatting import digits

MARGIN = 0.02
"""PLSR serves better where its cross-validated RMSE is below the network's by more than this share."""


def plsr_serves_better(network: dict[str, Any], plsr: CrossValidated) -> bool:
    """Whether PLSR's cross-validated error is below that of the network's (`metrics.scores`) by more than MARGIN."""
    return bool(plsr.rmse < (1 - MARGIN) * network["rmse"])


def recommendations(networks: dict[str, dict[str, Any]], plsr: PlsrBaseline) -> tuple[str, ...]:
    """Notes for the terminal, the card and the report.

    Args:
        networks: Target -> figures of the networks on learning soils that they left out; empty without such networks.
        plsr: On the same soils.
    """
    notes = []
    if plsr.new_groups:
        told = "; ".join(
            f"{target} R2 {plsr.left_out[target].r2:z.2f} with fields divided, "
            f"{found.r2:z.2f} with whole fields left out"
            for target, found in plsr.new_groups.items()
        )
        notes.append(f"PLSR, cross-validated: {told}: expect the latter in a new field")
    for target, figures in networks.items():
        found = plsr.left_out[target]
        if plsr_serves_better(figures, found):
            notes.append(
                f"PLSR serves better for {target}: cross-validated RMSE {digits(found.rmse)} against "
                f"{digits(figures['rmse'])} by the network"
            )
    return tuple(notes)
