"""The HTML page of a comparison: no scripts, no date, the same bytes for the same results.

The text is in `page.html`; this module fills in the results.
"""

import math
from collections import Counter
from html import escape
from importlib import resources
from string import Template

import pandas as pd

from relple_tf.comparison import plots
from relple_tf.comparison.result import ComparisonResult
from relple_tf.comparison.statistics import differences, p_text, rows_at, sentence
from relple_tf.config_text import to_toml
from relple_tf.evaluation.formatting import unit, with_unit
from relple_tf.evaluation.result import source_name
from relple_tf.report.page import items
from relple_tf.runs.card import versions
from relple_tf.training.intervals import COVERAGE

SIMULATED = (
    '<p class="warning"><strong>Simulated spectra.</strong> The soils of this comparison are simulated, not measured. '
    "The scores do not apply to real soils.</p>"
)
OPTIMISTIC = {
    "repeated": "The repeats resample the same soils, so their calibration sets and test sets overlap: p is smaller "
    "than it would be for independent soils (Nadeau and Bengio 2003, Machine Learning 52, 239-281).",
    "cross_validation": "The calibration sets of the folds overlap: p is smaller than it would be for independent "
    "soils (Nadeau and Bengio 2003, Machine Learning 52, 239-281).",
}
PAIRED = (
    "Each point is a repeat: R² of {first} minus R² of the model of the row, on the same test soils. To the right of "
    "0, {first} is better; the number at the right counts these repeats. Bar: median. Triangles: beyond the axis."
)
CURVES = (
    "Lines: median over the repeats. Bands: from the first to the third quartile. The horizontal axis is logarithmic."
)
MOST_SETTINGS = 3
"""Number of settings listed per baseline, the most frequent first."""


def comparison_report(result: ComparisonResult) -> str:
    """The page as HTML, without external resources."""
    page, first = resources.files("relple_tf.comparison"), result.models[0]
    targets = list(result.library.targets)
    packages = [name for name in ("cubist", "tabpfn", "tabicl") if name in result.models]
    conclusions = "\n".join(
        f"<p><em>{escape(target)}</em></p>\n<ul>\n{items(sentences(result, target))}\n</ul>" for target in targets
    )
    return Template(page.joinpath("page.html").read_text("utf-8")).substitute(
        title=escape(f"Comparison on {source_name(result.config)}"),
        style=resources.files("relple_tf.report").joinpath("page.css").read_text("utf-8"),
        warning=SIMULATED if result.library.source == "simulated" else "",
        facts="\n".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in terms(result).items()),
        notes=items(escape(note) for note in result.notes or ("none",)),
        conclusions=conclusions,
        repeats=result.repeat_word,
        optimistic=OPTIMISTIC[result.config.comparison.scheme],
        first=escape(first),
        rows="\n".join(table_rows(result, target) for target in targets),
        strips="\n".join(strip(result, target) for target in targets),
        paired=section(
            f"{first} compared with the other models", paired_plots(result), PAIRED.format(first=escape(first))
        ),
        curves=section("Learning curves", curve_plots(result), CURVES),
        settings=settings(result),
        versions=", ".join(
            f"{name} {number}"
            for name, number in versions(("keras", "tensorflow", "numpy", "scikit-learn", *packages)).items()
        ),
        data_hash=result.library_sha256[:16],
        config=escape(to_toml(result.config)),
    )


def terms(result: ComparisonResult) -> dict[str, str]:
    """Term -> fact: the data, the repeats and the models."""
    config, first_seed = result.config, result.config.training.seed
    folds = f" of {config.comparison.folds} folds each" if result.repeat_word == "folds" else ""
    test_counts = result.table.groupby("target", sort=False)["n"].median()
    return {
        "Source": result.library.source,
        "Soils": f"{len(result.library)} scans, {len(result.library.wavelengths_nm)} bands",
        "Repeats": f"{result.repeats}{folds}, seeds {first_seed} to {first_seed + result.repeats - 1}",
        "Calibration set": f"{', '.join(map(str, result.sizes))} soils",
        "Test set": ", ".join(f"{count:.0f} {target}" for target, count in test_counts.items()) + " (median)",
        "Models": ", ".join(result.models),
    }


def sentences(result: ComparisonResult, target: str) -> list[str]:
    """Conclusions for a target, by the rule that the page states."""
    first, largest = result.models[0], result.sizes[-1]
    prefix = f"with {largest} soils, " if len(result.sizes) > 1 else ""
    pairs = rows_at(result.pairs, target, largest)
    conclusions = [prefix + sentence(first, other, pairs.loc[other], result.repeat_word) for other in result.models[1:]]
    if len(result.models) == 1:
        row = rows_at(result.medians, target, largest).loc[first]
        conclusions.append(f"{prefix}{first}: median R² {row.r2:.2f}, quartiles {row.r2_low:.2f} to {row.r2_high:.2f}")
    return [
        escape(conclusion)
        for conclusion in (*conclusions, *best_by_size(result, target), *interval_coverage(result, target))
    ]


def interval_coverage(result: ComparisonResult, target: str) -> list[str]:
    """Fraction of the test values inside the prediction intervals, for each model with intervals."""
    sentences = []
    for model in result.models:
        coverage = rows_of(result, target, model)["coverage"].astype(float)
        if coverage.notna().any():
            sentences.append(
                f"the {COVERAGE:.0%} prediction intervals of {model} contain {coverage.median():.0%} of the laboratory "
                "values of the test soils (median)"
            )
    return sentences


def best_by_size(result: ComparisonResult, target: str) -> list[str]:
    """The model with the highest median R2 for each size; empty for a single size."""
    if len(result.sizes) == 1:
        return []
    r2 = {size: rows_at(result.medians, target, size)["r2"] for size in result.sizes}
    sizes_by_best: dict[str, list[int]] = {}
    for size, medians in r2.items():
        sizes_by_best.setdefault(medians.idxmax(), []).append(size)
    sentences = []
    for best, sizes in sizes_by_best.items():
        shown = dict.fromkeys((best, result.models[0]))
        figures = "; ".join(f"{model} {', '.join(f'{r2[size][model]:.2f}' for size in sizes)}" for model in shown)
        sentences.append(f"with {', '.join(map(str, sizes))} soils {best} has the highest median R²: {figures}")
    return sentences


def table_rows(result: ComparisonResult, target: str) -> str:
    """Rows of HTML with a target's medians, one block for each size."""
    blocks = []
    for size in result.sizes:
        rows = rows_at(result.medians, target, size)
        details = f"{escape(unit(target) or 'no unit')}<br>{size} soils"
        head = (
            f'<th rowspan="{len(rows)}" scope="rowgroup">{escape(target)}<br><span class="unit">{details}</span></th>'
        )
        # Three digits of the smallest RMSE; the same number of decimals for the whole block, to compare the rows.
        decimals = max(0, 2 - math.floor(math.log10(rows["rmse"].min())))
        lines: list[str] = []
        for model, row in rows.iterrows():
            cells = [
                bold(f"{row.r2:.3f}", row.r2 == rows["r2"].max()),
                f"{row.r2_low:.3f} to {row.r2_high:.3f}",
                bold(f"{row.rmse:.{decimals}f}", row.rmse == rows["rmse"].min()),
                f"{row.rpiq:.2f}",
                *pair_cells(None if model == result.models[0] else rows_at(result.pairs, target, size).loc[model]),
            ]
            shown = "".join(f"<td>{cell}</td>" for cell in cells)
            lines.append(f'<tr>{head if not lines else ""}<td class="model">{escape(model)}</td>{shown}</tr>')
        blocks.append("<tbody>\n" + "\n".join(lines) + "\n</tbody>")
    return "\n".join(blocks)


def pair_cells(pair: pd.Series | None) -> list[str]:
    """Wins of the first model, median difference and p; empty for the first model itself."""
    if pair is None:
        return ["", "", ""]
    return [f"{pair.wins:.0f} of {pair.repeats:.0f}", f"{pair.difference:+.3f}", escape(p_text(pair.p))]


def bold(text: str, best: bool) -> str:
    """HTML of a number, bold if it is the best."""
    return f"<strong>{text}</strong>" if best else text


def section(heading: str, images: list[str], caption: str) -> str:
    """A heading, its plots and their caption; empty without plots."""
    if not images:
        return ""
    shown = "\n".join(images)
    return f'\n<h2>{escape(heading)}</h2>\n<div class="pictures">\n{shown}\n</div>\n<p class="caption">{caption}</p>\n'


def strip(result: ComparisonResult, target: str) -> str:
    """The plot of R2 of every model."""
    values = {model: rows_of(result, target, model)["r2"].to_numpy() for model in result.models}
    title = with_unit(target, unit(target))
    return plots.strips(values, title=title, axis="R²", colours=plots.model_colours(result.models))


def rows_of(result: ComparisonResult, target: str, model: str) -> pd.DataFrame:
    """The repeats of a model with the largest number of development soils."""
    rows = result.figures
    return rows[(rows["target"] == target) & (rows["model"] == model) & (rows["soils"] == result.sizes[-1])]


def paired_plots(result: ComparisonResult) -> list[str]:
    """The plot of differences of R2 for each target; empty for a single model."""
    (first, *others), size = result.models, result.sizes[-1]
    images = []
    for target in result.library.targets if others else ():
        r2_differences = {other: differences(result.figures, target, size, first, other) for other in others}
        wins = {other: f"{(points > 0).sum()} of {len(points)}" for other, points in r2_differences.items()}
        images.append(
            plots.paired(
                r2_differences,
                wins,
                title=with_unit(target, unit(target)),
                axis=f"R² of {first} minus R² of ...",
                colour=plots.model_colours(result.models)[first],
            )
        )
    return images


def curve_plots(result: ComparisonResult) -> list[str]:
    """The plots of R2 and RMSE by the number of soils, for each target; empty for a single size."""
    images = []
    for target in result.library.targets if len(result.sizes) > 1 else ():
        rows, title = result.medians.loc[[target]].droplevel("target"), with_unit(target, unit(target))
        images.append(plots.learning_curve(rows, "r2", title=title, axis="R²"))
        images.append(plots.learning_curve(rows, "rmse", title=title, axis=f"RMSE ({unit(target) or 'no unit'})"))
    return images


def settings(result: ComparisonResult) -> str:
    """The settings of the baselines selected by cross-validation, the most frequent first."""
    lines = []
    for target in result.library.targets:
        for model in result.models:
            rows = rows_of(result, target, model)
            counts = Counter(rows["settings"][rows["settings"] != ""]).most_common(MOST_SETTINGS)
            if counts:
                shown = "; ".join(f"{setting} ({count} of {len(rows)})" for setting, count in counts)
                lines.append(f"<em>{escape(target)}</em>, {escape(model)}: {escape(shown)}")
    if not lines:
        return ""
    return (
        f"\n<details><summary>Settings selected by cross-validation</summary>\n<ul>\n{items(lines)}\n</ul></details>\n"
    )
