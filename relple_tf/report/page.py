"""The report of a run: one HTML page for the screen, the phone and paper.

Without scripts or outside resources, and without a date: one seed gives one report, byte for byte.
The text stands in `page.html`; here it gets its figures.
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
from relple_tf.report import sections as drawn
from relple_tf.report import tables
from relple_tf.report.interpretation import CLOSE, NO_USE, interpretation, rule
from relple_tf.report.plots.training import LOWEST_R2
from relple_tf.runs.card import card

SIMULATED = (
    '<p class="warning"><strong>Trained on simulated spectra.</strong> The soils of this report '
    "are computed, not measured. The scores are no claim about real soils.</p>"
)
DIVIDED = (
    '<p class="warning"><strong>Not for new fields.</strong> The split divides fields between training and test, so '
    "the test scores hold for further soils of the same fields. What PLSR does with whole fields left out says what to "
    "expect of a new one.</p>"
)
KEPT_LAST = (
    "The network learns from all learning soils and its last epoch is kept. R² and score are the means of networks "
    "that each left a part of these soils out, before their heads were mixed."
)
KEPT_BEST = "The network of the epoch with the best score is kept. R² and score are those before its heads were mixed."


def report(result: RunResult) -> str:
    """The page, complete in itself."""
    facts, page = card(result), resources.files("relple_tf.report")
    units = {target: entry["unit"] for target, entry in facts["targets"].items()}
    sharing, gates = drawn.shared(result)
    return Template(page.joinpath("page.html").read_text("utf-8")).substitute(
        title=escape(f"Soil calibration: {result.config.preset} on {source_name(result.config)}"),
        style=page.joinpath("page.css").read_text("utf-8"),
        warning=warnings(result),
        facts=terms(result, facts),
        interpretations="\n".join(paragraph(result, target, entry) for target, entry in facts["targets"].items()),
        rule=rule(),
        no_use=NO_USE,
        close=percent(CLOSE),
        notes=items(escape(note) for note in result.notes or ("nothing",)),
        rows="\n".join(tables.score_rows(result, target, unit) for target, unit in units.items()),
        left_out=left_out(result),
        one_to_one="\n".join(drawn.one_to_one(result, target, unit) for target, unit in units.items()),
        intervals=tables.interval_rows(facts["targets"]),
        domain_rows=tables.domain_rows(result),
        domain=drawn.domain(result),
        share=percent(result.fitted.reliability.limits.share),
        importance=drawn.importance(result),
        learning_curves=drawn.learning_curves(result),
        outliers=outlier_table(result),
        training=drawn.training(result),
        kept=KEPT_BEST if result.fitted.cross_fit is None else KEPT_LAST,
        shares=", ".join(f"{escape(target)} {percent(share)}" for target, share in result.fitted.weights.items()),
        lowest_r2=f"{LOWEST_R2:g}",
        balancing=escape(result.config.training.balancing),
        sharing=sharing,
        gates=gates,
        spectra=drawn.example_spectra(result, units),
        quantiles=", ".join(f"{share:.0%}" for share in drawn.QUANTILES),
        first_target=escape(next(iter(units))),
        versions=", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
        data_hash=facts["data_sha256"][:16],
        config=escape(to_toml(result.config)),
    )


def warnings(result: RunResult) -> str:
    """What a reader must know before the first figure."""
    simulated = SIMULATED if result.library.source == "simulated" else ""
    return simulated + (DIVIDED if result.plsr.new_groups else "")


def paragraph(result: RunResult, target: str, facts: dict[str, Any]) -> str:
    """A target's verdict; numbers and their signs of percent stay on one line."""
    words = escape(interpretation(result, target, facts), quote=False).replace(" %", "&nbsp;%")
    return f'<p class="verdict"><strong>{escape(target)}</strong>: {words}</p>'


def left_out(result: RunResult) -> str:
    """Which soils the lower rows of the table of scores are of."""
    if result.fitted.cross_fit is None:
        return (
            "Validation: soils that stopped the network's training, so that its figures there are a little too good. "
            "CV: all learning soils, each estimated by a model that left it out."
        )
    return (
        "CV: cross-validated on the learning soils, each estimated by a model that left it out; network and PLSR in "
        "the same folds."
    )


def items(entries: Any) -> str:
    """List items of HTML."""
    return "\n".join(f"<li>{entry}</li>" for entry in entries)


def terms(result: RunResult, facts: dict[str, Any]) -> str:
    """Which data and which network, as a list of terms."""
    grid, scanned_nm = result.fitted.prepared.grid_nm, result.library.wavelengths_nm
    parts = ", ".join(f"{count} {part}" for part, count in facts["soils"].items() if count)
    rows = {
        "Source": result.library.source,
        "Soils": f"{len(result.library)}: {parts}",
        "Scan": f"{drawn.quantity(result)}, {len(scanned_nm)} bands, {_range(scanned_nm)}",
        "Model grid": f"{len(grid)} bands, {_range(grid)}; channels {', '.join(result.config.front_end.channels)}",
        "Network": f"{result.config.preset} ({result.config.model.architecture}), "
        f"{facts['model']['weights']:,} weights",
        "Seed": str(facts["seed"]),
    }
    return "\n".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows.items())


def _range(wavelengths_nm: npt.NDArray[np.float64]) -> str:
    return f"{wavelengths_nm[0]:g} to {wavelengths_nm[-1]:g} nm"


def outlier_table(result: RunResult) -> str:
    """The table of the worst training soils, and how many there are."""
    count, shown = len(result.outliers), min(len(result.outliers), tables.MOST_OUTLIERS)
    if not count:
        return "<p>None of the training soils is beyond a limit or out of line with its laboratory value.</p>"
    head = '<thead><tr><th>id</th><th>T²</th><th>Q</th><th class="words">reason</th></tr></thead>'
    return (
        f'<div class="scroll"><table>\n{head}\n{tables.outlier_rows(result)}\n</table></div>\n'
        f"<p>The worst {shown} of {count}; outliers.csv has all, with their studentised residuals.</p>"
    )
