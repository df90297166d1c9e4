"""The table of metrics for the terminal."""

from typing import Any

COLUMNS = ("r2", "rmse", "rpiq", "bias", "ccc")


def metrics_table(metrics: dict[str, Any], heading: str) -> str:
    """Test metrics of the deployed model, and below each those of the baselines on the same rows."""
    lines = [heading, f"{'':14}{'':8}{'n':>6}" + "".join(f"{name:>9}" for name in COLUMNS)]
    for target, figures in metrics["test"].items():
        lines.append(_row(target, "model", figures))
        for name, baseline in metrics["baseline"].items():
            lines.append(_row("", name, baseline[target]))
    return "\n".join(lines)


def _row(target: str, model: str, figures: dict[str, float]) -> str:
    numbers = "".join(f"{figures[name]:9.3f}" for name in COLUMNS)
    return f"{target:14}{model:8}{figures['n']:6d}{numbers}"
