"""What a device has room for: a budget.toml, and which variants keep within it. No heavy imports."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

from relple_tf.config_text import read_toml
from relple_tf.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of a device; None is no limit."""

    flash_bytes: int | None = None
    """Of the model, and of the tables of its C source where the device computes the front end itself."""
    arena_bytes: int | None = None
    """Working memory that TFLM needs."""
    largest_error: float | None = None
    """Of any test soil against Keras, in standard deviations of the target's test values."""

    def exceeded(self, *, flash_bytes: int, arena_bytes: int | None, largest_error: float) -> tuple[str, ...]:
        """Why a variant does not fit, a few words for each limit; empty where it does."""
        reasons = []
        if self.flash_bytes is not None and flash_bytes > self.flash_bytes:
            reasons.append(f"flash {flash_bytes:,} > {self.flash_bytes:,}")
        if self.arena_bytes is not None:
            if arena_bytes is None:
                reasons.append("arena not measured")
            elif arena_bytes > self.arena_bytes:
                reasons.append(f"arena {arena_bytes:,} > {self.arena_bytes:,}")
        # So that a NaN does not fit either.
        if self.largest_error is not None and not largest_error <= self.largest_error:
            reasons.append(f"error {largest_error:.3g} > {self.largest_error:g} SD")
        return tuple(reasons)


def read_budget(path: Path) -> Budget:
    """Read a budget.

    Raises:
        InputError: the file is missing or no TOML, or holds no limit, an unknown key or an impossible value.
    """
    known = {field.name: field.type for field in dataclasses.fields(Budget)}
    table = read_toml(path, f"give a TOML file with {', '.join(known)}", flag="--budget")
    if not table:
        raise InputError(f"--budget {path}: holds no limit; it may have {', '.join(known)}")
    for name, value in table.items():
        if name not in known:
            raise InputError(f"--budget {path}: no limit {name!r}; there are {', '.join(known)}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and name.endswith("_bytes"):
            number = isinstance(value, int)
        if not number or not math.isfinite(value) or value <= 0:
            kind = "a whole number of bytes" if name.endswith("_bytes") else "a number of standard deviations"
            raise InputError(f"--budget {path}: {name} is {value!r}; give {kind} above 0")
    return Budget(**table)
