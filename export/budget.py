"""Budget of a device, read from a budget.toml, and the check whether a variant fits. Imports nothing slow."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from relple_tf.config_text import read_toml
from relple_tf.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of a device; None means no limit."""

    flash_bytes: int | None = None
    """Flash for the model, without the code of TFLM."""
    arena_bytes: int | None = None
    """Working memory for TFLM."""
    largest_error: float | None = None
    """Largest difference from Keras of any test scan, in SDs of the target's test values."""

    def exceeded(self, *, flash_bytes: int, arena_bytes: int | None, largest_error: float) -> tuple[str, ...]:
        """Describe each limit that a variant exceeds, in a few words; empty if the variant fits."""
        reasons = []
        if self.flash_bytes is not None and flash_bytes > self.flash_bytes:
            reasons.append(f"flash {flash_bytes:,} > {self.flash_bytes:,}")
        if self.arena_bytes is not None:
            if arena_bytes is None:
                reasons.append("arena not measured")
            elif arena_bytes > self.arena_bytes:
                reasons.append(f"arena {arena_bytes:,} > {self.arena_bytes:,}")
        # `not <=`, so that NaN does not fit.
        if self.largest_error is not None and not largest_error <= self.largest_error:
            reasons.append(f"error {largest_error:.3g} > {self.largest_error:g} SD")
        return tuple(reasons)


def read_budget(path: Path) -> Budget:
    """Read a budget from a TOML file.

    Raises:
        InputError: the file is missing or not TOML, has no limit, or has an unknown key or an invalid value.
    """
    limits = [field.name for field in dataclasses.fields(Budget)]
    table = read_toml(path, f"give a TOML file with {', '.join(limits)}", flag="--budget")
    if not table:
        raise InputError(f"--budget {path} has no limit; give at least one of {', '.join(limits)}")
    for name, value in table.items():
        if name not in limits:
            raise InputError(f"--budget {path} has an unknown limit {name!r}; use {', '.join(limits)}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and name.endswith("_bytes"):
            number = isinstance(value, int)
        if not number or not math.isfinite(value) or value <= 0:
            kind = "a whole number of bytes" if name.endswith("_bytes") else "a number of standard deviations"
            raise InputError(f"--budget {path}: expected {name} to be {kind} above 0, received {value!r}")
    return Budget(**table)
