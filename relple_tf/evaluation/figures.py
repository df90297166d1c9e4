"""Figures as text, the same wherever they are shown."""

import math

import numpy as np

COLUMNS = ("n", "r2", "rmse", "rpiq", "rpd", "bias", "ccc")


def texts(figures: dict[str, float]) -> dict[str, str]:
    """Figures of merit: RMSE with three digits, bias with as many decimals, ratios with two."""
    rmse = figures["rmse"]
    sound = rmse > 0 and math.isfinite(rmse)
    decimals = max(0, 2 - math.floor(math.log10(rmse))) if sound else 2
    digits = {"n": 0, "rmse": decimals, "bias": decimals}
    return {name: f"{value:z.{digits.get(name, 2)}f}" for name in COLUMNS if (value := figures.get(name)) is not None}


def digits(value: float, count: int = 3) -> str:
    """This many digits, without an exponent; `no bound` where the number is infinite."""
    if not math.isfinite(value):
        return "no bound"
    return np.format_float_positional(value, precision=count, fractional=False, trim="-")


def percent(share: float) -> str:
    """A share in whole percent, with a decimal below one, so that few are not none."""
    return f"{100 * share:.1f} %" if 0 < share < 0.01 else f"{100 * share:.0f} %"
