"""Needs of a user: the largest half width that is accepted per target, as text of `--need` and as a mapping."""

import math
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from relple_tf.errors import InputError

EXAMPLE = "OC_g_kg=3,pH=0.3"


def parse_needs(text: str) -> dict[str, float]:
    """Parse the text of `--need`: target -> largest half width, in the unit of the target.

    Raises:
        InputError: the text is not a list of TARGET=WIDTH, a target is repeated, or a width is not a number.
    """
    needs: dict[str, float] = {}
    for part in text.split(","):
        target, equals, width = (piece.strip() for piece in part.partition("="))
        if not (target and equals and width):
            raise InputError(
                f"--need: expected TARGET=WIDTH,... such as {EXAMPLE}, received {part.strip() or 'nothing'!r}"
            )
        if target in needs:
            raise InputError(f"--need: {target} is given twice; give one width per target")
        try:
            needs[target] = float(width)
        except ValueError:
            raise InputError(f"--need: {target}: expected a number above 0, received {width!r}") from None
        _check_width(target, needs[target])
    return needs


def check_needs(needs: Mapping[str, Any], targets: Mapping[str, Any], source: Path | str) -> None:
    """Check that a model can decide by these needs.

    Args:
        needs: Target -> largest half width.
        targets: Target -> entry with its `interval`, as in the card of a run or bundle.
        source: The model, for messages.

    Raises:
        InputError: the model has no such target or no interval for it, or a width is not a finite number above 0.
    """
    for target, width in needs.items():
        if target not in targets:
            raise InputError(f"need: {source} has no target {target}; it has {', '.join(targets)}")
        _check_width(target, width)
        interval = targets[target]["interval"]
        if interval is None or interval["half_width"] is None:
            reason = "training.cv_folds is 0; train with cross-validation folds"
            if interval is not None:
                reason = f"{interval['n']} soils are too few; train with more soils"
            raise InputError(f"need: {target} has no prediction interval in {source}, because {reason}")


def _check_width(target: str, width: Any) -> None:
    """Refuse a width that is not a finite number above 0."""
    is_number = isinstance(width, Real) and not isinstance(width, bool)
    if not (is_number and 0 < width < math.inf):
        raise InputError(f"need: {target}: expected a finite number above 0, received {width!r}")
