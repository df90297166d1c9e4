"""Figures as text, the same wherever they are shown."""

import math

COLUMNS = ("n", "r2", "rmse", "rpiq", "rpd", "bias", "ccc")


def texts(figures: dict[str, float]) -> dict[str, str]:
    """Figures of merit that there are: RMSE with three digits, bias with as many decimals, ratios with two."""
    rmse = figures["rmse"]
    sound = rmse > 0 and math.isfinite(rmse)
    decimals = max(0, 2 - math.floor(math.log10(rmse))) if sound else 2
    places = {"n": 0, "rmse": decimals, "bias": decimals}
    return {name: f"{figures[name]:z.{places.get(name, 2)}f}" for name in COLUMNS if name in figures}


def digits(value: float, count: int = 3) -> str:
    """This many digits and no exponent; whole numbers are not rounded."""
    if not math.isfinite(value) or not value:
        return f"{value:g}"
    return f"{value:.{max(0, count - 1 - math.floor(math.log10(abs(value))))}f}"


def percent(share: float) -> str:
    """A share in whole percent, with a decimal below one, so that few are not none."""
    return f"{100 * share:.1f} %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def unit(target: str) -> str:
    """The unit that a target's name carries; pH and names without one have none."""
    known = {"g_kg": "g/kg", "cmolc_kg": "cmolc/kg", "pct": "%"}
    return next((text for suffix, text in known.items() if target.endswith(f"_{suffix}")), "")


def with_unit(target: str, unit: str) -> str:
    """A target's name with its unit in brackets instead of in the name."""
    suffix = "_pct" if unit == "%" else f"_{unit.replace('/', '_')}"
    return f"{target.removesuffix(suffix)} ({unit})" if unit else target
