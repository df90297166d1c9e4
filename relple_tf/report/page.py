"""The report of a run: a single HTML page for screen, phone and print.

It has no scripts, no external resources and no date: the same seed gives the same report, byte for byte.
The text is in `page.html`; this module fills in the results.
"""

from html import escape
from importlib import resources
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt

from relple_tf.config_text import to_toml
from relple_tf.evaluation.formatting import percent
from relple_tf.evaluation.result import RunResult, source_name
from relple_tf.report import keep_or_send, sections, tables
from relple_tf.report.interpretation import CLOSE, NO_USE, interpretation, rule
from relple_tf.report.plots.needs import FEWEST
from relple_tf.report.plots.training import LOWEST_R2
from relple_tf.runs.card import card

SIMULATED = (
    '<p class="warning"><strong>Trained on simulated spectra.</strong> The soils of this report '
    "are simulated, not measured. The scores do not apply to real soils.</p>"
)
DIVIDED = (
    '<p class="warning"><strong>Not for new fields.</strong> The split divides fields between the calibration set and '
    "the test set, so the test scores are valid for further soils of the same fields only. For a new field, see the "
    "cross-validated R² of PLSR with whole fields left out.</p>"
)
KEPT_LAST = (
    "The network is trained on the whole calibration set; the weights of the last epoch are used. R² and score are "
    "cross-validated: each is the mean over the networks that left out a fold, before stacking."
)
KEPT_BEST = "The weights of the epoch with the best score are used. R² and score are those before stacking."


def report(result: RunResult) -> str:
    """The page as HTML, without external resources."""
    facts, page = card(result), resources.files("relple_tf.report")
    units = {target: entry["unit"] for target, entry in facts["targets"].items()}
    sharing, gates = sections.sharing(result)
    return Template(page.joinpath("page.html").read_text("utf-8")).substitute(
        title=escape(f"Soil calibration: {result.config.preset} on {source_name(result.config)}"),
        style=page.joinpath("page.css").read_text("utf-8"),
        warning=warnings(result),
        facts=terms(result, facts),
        interpretations="\n".join(paragraph(result, target, entry) for target, entry in facts["targets"].items()),
        rule=rule(),
        no_use=NO_USE,
        close=percent(CLOSE),
        notes=items(escape(note) for note in result.notes or ("none",)),
        rows="\n".join(tables.score_rows(result, target, unit) for target, unit in units.items()),
        left_out=left_out(result),
        one_to_one="\n".join(sections.one_to_one(result, target, unit) for target, unit in units.items()),
        intervals=tables.interval_rows(facts["targets"]),
        domain_rows=tables.domain_rows(result),
        domain=sections.domain(result),
        share=percent(result.fitted.reliability.limits.share),
        keep_or_send=keep_or_send.section(result, units),
        fewest_kept=FEWEST,
        importance=sections.importance(result),
        learning_curves=sections.learning_curves(result),
        outliers=outlier_table(result),
        training=sections.training(result),
        kept=KEPT_BEST if result.fitted.cross_fit is None else KEPT_LAST,
        stacking_weights=", ".join(
            f"{escape(target)} {' / '.join(map(percent, weights))}" for target, weights in result.fitted.weights.items()
        ),
        lowest_r2=f"{LOWEST_R2:g}",
        balancing=escape(result.config.training.balancing),
        sharing=sharing,
        gates=gates,
        spectra=sections.example_spectra(result, units),
        quantiles=", ".join(f"{quantile:.0%}" for quantile in sections.QUANTILES),
        first_target=escape(next(iter(units))),
        versions=", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
        data_hash=facts["data_sha256"][:16],
        config=escape(to_toml(result.config)),
    )


def warnings(result: RunResult) -> str:
    """Warnings at the top of the page."""
    simulated = SIMULATED if result.library.source == "simulated" else ""
    doubts = result.library.doubts
    listed = f'<div class="warning"><p>Check the data:</p><ul>\n{items(map(escape, doubts))}\n</ul></div>'
    return simulated + (listed if doubts else "") + (DIVIDED if result.plsr.new_groups else "")


def paragraph(result: RunResult, target: str, facts: dict[str, Any]) -> str:
    """The interpretation of a target; non-breaking spaces keep numbers and percent signs together."""
    text = escape(interpretation(result, target, facts), quote=False).replace(" %", "&nbsp;%")
    return f'<p class="interpretation"><strong>{escape(target)}</strong>: {text}</p>'


def left_out(result: RunResult) -> str:
    """Explains the rows of the metrics table that are not computed on the test set."""
    if result.fitted.cross_fit is None:
        return (
            "Validation: soils that selected the epoch of the network, so its metrics there are slightly optimistic. "
            "CV: out-of-fold predictions for the calibration set (all soils outside the test set)."
        )
    return (
        "CV: cross-validation, out-of-fold predictions for the calibration set (all soils outside the test set); the "
        "folds of both models are the same."
    )


def items(entries: Any) -> str:
    """HTML list items."""
    return "\n".join(f"<li>{entry}</li>" for entry in entries)


def terms(result: RunResult, facts: dict[str, Any]) -> str:
    """The data and the network as an HTML definition list."""
    grid, scanned_nm = result.fitted.prepared.grid_nm, result.library.wavelengths_nm
    parts = ", ".join(f"{count} {part}" for part, count in facts["soils"].items() if count)
    rows = {
        "Source": result.library.source,
        "Soils": f"{result.library.size}: {parts}",
        "Scan": f"{sections.quantity(result)}, {len(scanned_nm)} bands, {_range(scanned_nm)}",
        "Model grid": f"{len(grid)} bands, {_range(grid)}; channels {', '.join(result.config.front_end.channels)}",
        "Network": f"{result.config.preset} ({result.config.model.architecture}), "
        f"{facts['model']['weights']:,} weights",
        "Seed": str(facts["seed"]),
    }
    return "\n".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows.items())


def _range(wavelengths_nm: npt.NDArray[np.float64]) -> str:
    return f"{wavelengths_nm[0]:g} to {wavelengths_nm[-1]:g} nm"


def outlier_table(result: RunResult) -> str:
    """The table of the most extreme outliers, and their number."""
    count, shown = len(result.outliers), min(len(result.outliers), tables.MOST_OUTLIERS)
    if not count:
        return "<p>There are no outliers among the training soils.</p>"
    head = '<thead><tr><th>id</th><th>T²</th><th>Q</th><th class="words">reason</th></tr></thead>'
    return (
        f'<div class="scroll"><table>\n{head}\n{tables.outlier_rows(result)}\n</table></div>\n'
        f"<p>The {shown} most extreme of {count}; outliers.csv lists all, with their studentised residuals.</p>"
    )
