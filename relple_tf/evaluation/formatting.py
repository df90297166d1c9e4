"""Metrics and numbers as text, in the same format in the terminal, the card and the report."""

import math

COLUMNS = ("n", "r2", "rmse", "rpiq", "rpd", "bias", "ccc")


def texts(figures: dict[str, float]) -> dict[str, str]:
    """The available metrics as text: RMSE with three digits, bias with the same decimals, ratios with two decimals."""
    rmse = figures["rmse"]
    valid = rmse > 0 and math.isfinite(rmse)
    rmse_decimals = max(0, 2 - math.floor(math.log10(rmse))) if valid else 2
    decimals = {"n": 0, "rmse": rmse_decimals, "bias": rmse_decimals}
    return {name: f"{figures[name]:z.{decimals.get(name, 2)}f}" for name in COLUMNS if name in figures}


def digits(value: float, count: int = 3) -> str:
    """The value with `count` significant digits and no exponent; digits before the decimal point are never rounded."""
    if not math.isfinite(value) or not value:
        return f"{value:g}"
    return f"{value:.{max(0, count - 1 - math.floor(math.log10(abs(value))))}f}"


def rounded_up(value: float) -> float:
    """The smallest number of two significant digits that is at least `value`, which is above 0 and finite."""
    exponent = math.floor(math.log10(value)) - 1
    # The margin leaves a value that has two digits, such as 0.29, unchanged.
    return float(f"{math.ceil(value / 10.0**exponent * (1 - 1e-9))}e{exponent}")


def percent(fraction: float) -> str:
    """A fraction in whole percent; with one decimal below 1 %, so that a small fraction is not shown as 0 %."""
    return f"{100 * fraction:.1f} %" if 0 < fraction < 0.01 else f"{100 * fraction:.0f} %"


def unit(target: str) -> str:
    """The unit at the end of a target's name; empty for pH and other names without a unit."""
    units = {"g_kg": "g/kg", "cmolc_kg": "cmolc/kg", "pct": "%"}
    return next((text for suffix, text in units.items() if target.endswith(f"_{suffix}")), "")


def with_unit(target: str, unit: str) -> str:
    """A target's name with its unit in brackets instead of as a suffix."""
    suffix = "_pct" if unit == "%" else f"_{unit.replace('/', '_')}"
    return f"{target.removesuffix(suffix)} ({unit})" if unit else target
