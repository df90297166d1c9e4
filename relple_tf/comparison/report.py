"""The page of a comparison, in the manner of `report`: no scripts, no date, the same bytes for the same results.

The text stands in `page.html`; here it gets its figures.
"""

import math
from collections import Counter
from html import escape
from importlib import resources
from string import Template

import pandas as pd

from relple_tf.comparison import plots as pictures
from relple_tf.comparison.result import ComparisonResult
from relple_tf.comparison.statistics import at, differences, p_in_words, sentence
from relple_tf.config_text import to_toml
from relple_tf.evaluation.formatting import unit, with_unit
from relple_tf.evaluation.result import source_name
from relple_tf.report.page import items
from relple_tf.runs.card import versions
from relple_tf.training.intervals import COVERAGE

SIMULATED = (
    '<p class="warning"><strong>Simulated spectra.</strong> The soils of this comparison are computed, not measured. '
    "The scores are no claim about real soils.</p>"
)
OPTIMISTIC = {
    "repeated": "Repeats draw from the same soils, so that their learning rows, and some test rows, are the same: p is "
    "smaller than it would be for new soils (Nadeau and Bengio 2003, Machine Learning 52, 239-281).",
    "cross_validation": "Folds learn from mostly the same soils: p is smaller than it would be for new soils (Nadeau "
    "and Bengio 2003, Machine Learning 52, 239-281).",
}
PAIRED = (
    "A point is a repeat: R² of {first} minus R² of the model of the row, on the same test soils. Right of 0, "
    "{first} is better; at the side, how often. Bar: median. Triangles lie outside the picture."
)
CURVES = "Median over the repeats; the band reaches from quartile to quartile. The axis of soils is logarithmic."
MOST_SETTINGS = 3
"""Settings of a baseline that are listed, the most frequent first."""


def comparison_report(result: ComparisonResult) -> str:
    """The page, complete in itself."""
    page, first = resources.files("relple_tf.comparison"), result.models[0]
    text = {target: f"<em>{escape(target)}</em>" for target in result.library.targets}
    words = "\n".join(f"<p>{text[target]}</p>\n<ul>\n{items(sentences(result, target))}\n</ul>" for target in text)
    return Template(page.joinpath("page.html").read_text("utf-8")).substitute(
        title=escape(f"Comparison on {source_name(result.config)}"),
        style=resources.files("relple_tf.report").joinpath("page.css").read_text("utf-8"),
        warning=SIMULATED if result.library.source == "simulated" else "",
        facts="\n".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in terms(result).items()),
        notes=items(escape(note) for note in result.notes or ("nothing",)),
        words=words,
        repeats=result.repeat_word,
        optimistic=OPTIMISTIC[result.config.comparison.scheme],
        first=escape(first),
        rows="\n".join(table_rows(result, target) for target in text),
        strips="\n".join(strip(result, target) for target in text),
        paired=section(f"{first} against the others", paired_pictures(result), PAIRED.format(first=escape(first))),
        curves=section("Learning curves", curve_pictures(result), CURVES),
        chosen=settings(result),
        versions=", ".join(
            f"{name} {number}"
            for name, number in versions(("keras", "tensorflow", "numpy", "scikit-learn", "cubist")).items()
        ),
        data_hash=result.library_sha256[:16],
        config=escape(to_toml(result.config)),
    )


def terms(result: ComparisonResult) -> dict[str, str]:
    """What was compared on which soils."""
    config, first_seed = result.config, result.config.training.seed
    folds = f" of {config.comparison.folds} folds each" if result.repeat_word == "folds" else ""
    tested = result.table.groupby("target", sort=False)["n"].median()
    return {
        "Source": result.library.source,
        "Soils": f"{len(result.library)} scans, {len(result.library.wavelengths_nm)} bands",
        "Repeats": f"{result.repeats}{folds}, seeds {first_seed} to {first_seed + result.repeats - 1}",
        "Learned from": f"{', '.join(map(str, result.sizes))} soils",
        "Tested on": ", ".join(f"{count:.0f} {target}" for target, count in tested.items()) + " (median)",
        "Models": ", ".join(result.models),
    }


def sentences(result: ComparisonResult, target: str) -> list[str]:
    """What the figures of a target say, by the rule that the page states."""
    first, largest = result.models[0], result.sizes[-1]
    start = f"with {largest} soils, " if len(result.sizes) > 1 else ""
    against = at(result.against, target, largest)
    found = [start + sentence(first, other, against.loc[other], result.repeat_word) for other in result.models[1:]]
    if len(result.models) == 1:
        row = at(result.middle, target, largest).loc[first]
        found.append(f"{start}{first}: median R² {row.r2:.2f}, quartiles {row.r2_low:.2f} to {row.r2_high:.2f}")
    return [escape(words) for words in (*found, *best_by_size(result, target), *covered(result, target))]


def covered(result: ComparisonResult, target: str) -> list[str]:
    """What share of the test soils lies within the intervals of each model that gives some."""
    found = []
    for model in result.models:
        share = rows_of(result, target, model)["coverage"].astype(float)
        if share.notna().any():
            found.append(
                f"the {COVERAGE:.0%} intervals of {model} hold {share.median():.0%} of the test soils (median)"
            )
    return found


def best_by_size(result: ComparisonResult, target: str) -> list[str]:
    """Which model has the highest median R2 with how many soils; nothing where there is one size."""
    if len(result.sizes) == 1:
        return []
    r2 = {size: at(result.middle, target, size)["r2"] for size in result.sizes}
    served: dict[str, list[int]] = {}
    for size, medians in r2.items():
        served.setdefault(medians.idxmax(), []).append(size)
    found = []
    for best, sizes in served.items():
        shown = dict.fromkeys((best, result.models[0]))
        figures = "; ".join(f"{model} {', '.join(f'{r2[size][model]:.2f}' for size in sizes)}" for model in shown)
        found.append(f"with {', '.join(map(str, sizes))} soils {best} has the highest median R²: {figures}")
    return found


def table_rows(result: ComparisonResult, target: str) -> str:
    """A target's medians, a block of rows for each size."""
    blocks = []
    for size in result.sizes:
        rows = at(result.middle, target, size)
        about = f"{escape(unit(target) or 'no unit')}<br>{size} soils"
        head = f'<th rowspan="{len(rows)}" scope="rowgroup">{escape(target)}<br><span class="unit">{about}</span></th>'
        # Three digits of the smallest, for all of a block, so that they can be compared down the column.
        decimals = max(0, 2 - math.floor(math.log10(rows["rmse"].min())))
        lines: list[str] = []
        for model, row in rows.iterrows():
            cells = [
                bold(f"{row.r2:.3f}", row.r2 == rows["r2"].max()),
                f"{row.r2_low:.3f} to {row.r2_high:.3f}",
                bold(f"{row.rmse:.{decimals}f}", row.rmse == rows["rmse"].min()),
                f"{row.rpiq:.2f}",
                *pair_cells(None if model == result.models[0] else at(result.against, target, size).loc[model]),
            ]
            shown = "".join(f"<td>{cell}</td>" for cell in cells)
            lines.append(f'<tr>{head if not lines else ""}<td class="model">{escape(model)}</td>{shown}</tr>')
        blocks.append("<tbody>\n" + "\n".join(lines) + "\n</tbody>")
    return "\n".join(blocks)


def pair_cells(pair: pd.Series | None) -> list[str]:
    """Wins of the first model, its advantage and p; nothing beside the first model itself."""
    if pair is None:
        return ["", "", ""]
    return [f"{pair.wins:.0f} of {pair.repeats:.0f}", f"{pair.difference:+.3f}", escape(p_in_words(pair.p))]


def bold(text: str, best: bool) -> str:
    """HTML of a figure."""
    return f"<strong>{text}</strong>" if best else text


def section(heading: str, plots: list[str], caption: str) -> str:
    """A heading, its pictures and their caption; nothing without pictures."""
    if not plots:
        return ""
    shown = "\n".join(plots)
    return f'\n<h2>{escape(heading)}</h2>\n<div class="pictures">\n{shown}\n</div>\n<p class="caption">{caption}</p>\n'


def strip(result: ComparisonResult, target: str) -> str:
    """R2 of every model."""
    values = {model: rows_of(result, target, model)["r2"].to_numpy() for model in result.models}
    title = with_unit(target, unit(target))
    return pictures.strips(values, title=title, axis="R²", colours=pictures.model_colours(result.models))


def rows_of(result: ComparisonResult, target: str, model: str) -> pd.DataFrame:
    """The repeats of a model with the most soils to learn from."""
    rows = result.figures
    return rows[(rows["target"] == target) & (rows["model"] == model) & (rows["soils"] == result.sizes[-1])]


def paired_pictures(result: ComparisonResult) -> list[str]:
    """One picture for each target; none if there is one model."""
    (first, *others), size = result.models, result.sizes[-1]
    plots = []
    for target in result.library.targets if others else ():
        found = {other: differences(result.figures, target, size, first, other) for other in others}
        wins = {other: f"{(points > 0).sum()} of {len(points)}" for other, points in found.items()}
        plots.append(
            pictures.paired(
                found,
                wins,
                title=with_unit(target, unit(target)),
                axis=f"R² of {first} minus R² of ...",
                colour=pictures.model_colours(result.models)[first],
            )
        )
    return plots


def curve_pictures(result: ComparisonResult) -> list[str]:
    """R2 and RMSE over the number of soils, for each target; none if there is one size."""
    plots = []
    for target in result.library.targets if len(result.sizes) > 1 else ():
        rows, title = result.middle.loc[[target]].droplevel("target"), with_unit(target, unit(target))
        plots.append(pictures.learning_curve(rows, "r2", title=title, axis="R²"))
        plots.append(pictures.learning_curve(rows, "rmse", title=title, axis=f"RMSE ({unit(target) or 'no unit'})"))
    return plots


def settings(result: ComparisonResult) -> str:
    """What cross-validation chose for the baselines, most frequent first."""
    lines = []
    for target in result.library.targets:
        for model in result.models:
            rows = rows_of(result, target, model)
            chosen = Counter(rows["settings"][rows["settings"] != ""]).most_common(MOST_SETTINGS)
            if chosen:
                shown = "; ".join(f"{words} ({count} of {len(rows)})" for words, count in chosen)
                lines.append(f"<em>{escape(target)}</em>, {escape(model)}: {escape(shown)}")
    if not lines:
        return ""
    return (
        f"\n<details><summary>Settings that cross-validation chose</summary>\n<ul>\n{items(lines)}\n</ul></details>\n"
    )
