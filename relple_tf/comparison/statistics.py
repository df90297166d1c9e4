"""Statistics of a comparison: medians of each model, and paired tests of the first model with each other model."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import wilcoxon

FEWEST_REPEATS = 6
"""With fewer repeats the signed-rank test cannot reach p < .05, whatever the differences."""

SIGNIFICANCE = 0.05
"""A difference is called clear if p is below this."""

REPEAT = ["seed", "fold"]
"""Columns that identify a repeat: rows with the same values have the same test soils."""

NO_PAIRS = pd.MultiIndex.from_arrays([[], [], []], names=["target", "soils", "model"])


def medians(table: pd.DataFrame) -> pd.DataFrame:
    """Median and quartiles of every model over the repeats.

    Args:
        table: Rows of compare.csv.

    Returns:
        Index target, soils, model, in the order of `table`; columns repeats, r2, r2_low and r2_high (quartiles), rmse
        with rmse_low and rmse_high (target's unit), rpiq.
    """
    grouped = table.groupby(["target", "soils", "model"], sort=False)
    r2, rmse = grouped["r2"], grouped["rmse"]
    return pd.DataFrame(
        {
            "repeats": r2.size(),
            "r2": r2.median(),
            "r2_low": r2.quantile(0.25),
            "r2_high": r2.quantile(0.75),
            "rmse": rmse.median(),
            "rmse_low": rmse.quantile(0.25),
            "rmse_high": rmse.quantile(0.75),
            "rpiq": grouped["rpiq"].median(),
        }
    )


def differences(table: pd.DataFrame, target: str, soils: int, first: str, other: str) -> npt.NDArray[np.float64]:
    """R2 of `first` minus R2 of `other`, (repeats,), in the order of `table`."""
    rows = table[(table["target"] == target) & (table["soils"] == soils)]
    r2 = rows.pivot_table(index=REPEAT, columns="model", values="r2", sort=False)
    r2_differences: npt.NDArray[np.float64] = (r2[first] - r2[other]).to_numpy()
    return r2_differences


def pairs(table: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """The first of `models` compared with each other model.

    Returns:
        Index target, soils, model (the other); columns repeats, wins (repeats with a higher R2), difference (median of
        the differences of R2) and p (Wilcoxon's signed-rank test, two-sided; NaN below FEWEST_REPEATS).
    """
    rows = {}
    for target, soils in dict.fromkeys(zip(table["target"], table["soils"], strict=True)):
        for other in models[1:]:
            r2_differences = differences(table, target, soils, models[0], other)
            rows[target, soils, other] = {
                "repeats": len(r2_differences),
                "wins": int((r2_differences > 0).sum()),
                "difference": float(np.median(r2_differences)),
                "p": signed_rank_p(r2_differences),
            }
    index = pd.MultiIndex.from_tuples(list(rows), names=["target", "soils", "model"]) if rows else NO_PAIRS
    return pd.DataFrame(list(rows.values()), index=index, columns=["repeats", "wins", "difference", "p"])


def rows_at(figures: pd.DataFrame, target: str, soils: int) -> pd.DataFrame:
    """The rows of `medians` or `pairs` for a target and a number of soils, indexed by model."""
    levels = figures.index
    selected = (levels.get_level_values("target") == target) & (levels.get_level_values("soils") == soils)
    return figures[selected].droplevel(["target", "soils"])


def signed_rank_p(r2_differences: npt.NDArray[np.float64]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (1945, Biometrics Bulletin 1, 80-83); NaN below FEWEST_REPEATS.

    Differences of 0 are omitted, as in Wilcoxon's paper; if all are 0, p is 1.
    """
    if len(r2_differences) < FEWEST_REPEATS:
        return float("nan")
    return float(wilcoxon(r2_differences).pvalue) if np.any(r2_differences != 0) else 1.0


def p_text(p: float) -> str:
    """Format p for text and tables."""
    if np.isnan(p):
        return "too few repeats"
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def sentence(first: str, other: str, pair: pd.Series, repeats: str) -> str:
    """States whether `first` or `other` is better, or that there is no clear difference."""
    count, wins, difference = int(pair.repeats), int(pair.wins), pair.difference
    figures = f"median difference of R² {abs(difference):.3f}, p {p_text(pair.p)}"
    if np.isnan(pair.p):
        return f"{first} is better than {other} in {wins} of {count} {repeats}; too few {repeats} for a test"
    if pair.p < SIGNIFICANCE and 2 * wins > count and difference > 0:
        return f"{first} is better than {other} in {wins} of {count} {repeats}, {figures}"
    if pair.p < SIGNIFICANCE and 2 * wins < count and difference < 0:
        return f"{other} is better than {first} in {count - wins} of {count} {repeats}, {figures}"
    counts = f"{first} is better in {wins} of {count} {repeats}, median difference of R² {difference:+.3f}"
    return f"{first} and {other}: no clear difference ({counts}, p {p_text(pair.p)})"


def comparison_table(table: pd.DataFrame, models: Sequence[str], heading: str) -> str:
    """Medians and paired comparisons as a table for the terminal."""
    median_rows, pair_rows = medians(table), pairs(table, models)
    targets = max(8, *(len(target) for target in table["target"].unique()))
    names = max(len(model) for model in models)
    wins_head = f"{models[0]} better"
    head = f"{'':{targets}} {'soils':>6} {'':{names}} {'R2':>7} {'quartiles':>15} {'RMSE':>9} {'RPIQ':>6}"
    lines = [heading, f"{head}  {wins_head:>{len(wins_head)}} {'by R2':>8}  p" if len(models) > 1 else head]
    order = {target: position for position, target in enumerate(table["target"].unique())}
    blocks = sorted(median_rows.index.droplevel("model").unique(), key=lambda block: (order[block[0]], block[1]))
    for target, soils in blocks:
        for position, (model, row) in enumerate(rows_at(median_rows, target, soils).iterrows()):
            label = f"{target if position == 0 else '':{targets}} {soils if position == 0 else '':>6} {model:{names}}"
            quartiles = f"{row.r2_low:.3f}..{row.r2_high:.3f}"
            line = f"{label} {row.r2:7.3f} {quartiles:>15} {row.rmse:9.4g} {row.rpiq:6.2f}"
            if model != models[0]:
                pair = rows_at(pair_rows, target, soils).loc[model]
                wins = f"{pair.wins:.0f} of {pair.repeats:.0f}"
                line += f"  {wins:>{len(wins_head)}} {pair.difference:+8.3f}  {p_text(pair.p)}"
            lines.append(line)
    return "\n".join(lines)
