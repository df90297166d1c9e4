"""The report of an adaptation as a single HTML page, without scripts, external resources and date."""

from html import escape
from importlib import resources
from string import Template

import numpy as np

from relple_tf.adaptation.combination import COMBINED, LOCAL, METHODS
from relple_tf.adaptation.corrections import NONE
from relple_tf.adaptation.instrument import InstrumentCorrection
from relple_tf.adaptation.result import Adaptation
from relple_tf.evaluation.formatting import digits, percent, unit, with_unit
from relple_tf.models.deployed import LocalPart
from relple_tf.report.plots.figures import PALETTE
from relple_tf.report.plots.parity import one_to_one


def adaptation_page(result: Adaptation) -> str:
    """The page as HTML."""
    page, report = resources.files("relple_tf.adaptation"), resources.files("relple_tf.report")
    return Template(page.joinpath("page.html").read_text("utf-8")).substitute(
        style=report.joinpath("page.css").read_text("utf-8"),
        run=escape(result.source),
        local=escape(result.local.source),
        samples=len(np.unique(result.local.sample_labels)),
        scans=len(result.local),
        interpretations="\n".join(f"<p>{_interpretation(result, name)}</p>" for name in result.adapted),
        notes="\n".join(f"<li>{escape(note)}</li>" for note in result.notes or ("none",)),
        instrument="" if result.instrument is None else _instrument(result.instrument),
        titles="".join(f"<th>{escape(with_unit(name, unit(name)))}</th>" for name in result.adapted),
        counts="".join(f"<td>{result.count(name)}</td>" for name in result.adapted),
        rows="\n".join(_row(result, method) for method in (*METHODS, COMBINED)),
        bytes=f"{4 * LocalPart.all_of(result.model)[-1].regression.count_params():,}",
        pictures="\n".join(_picture(result, name, position) for position, name in enumerate(result.adapted)),
        intervals="\n".join(_interval_row(result, name) for name in result.adapted),
        t2=_limit(result.limits_before.t2, result.limits.t2),
        q=_limit(result.limits_before.q, result.limits.q),
        outside_before=percent(float(np.mean(result.status_before != "ok"))),
        outside=percent(float(np.mean(result.status != "ok"))),
    )


def _interpretation(result: Adaptation, name: str) -> str:
    """What the adaptation of a target does, and how far to trust it."""
    count, weights = result.count(name), result.combination(name).weights
    title = f"<strong>{escape(with_unit(name, unit(name)))}</strong>"
    before, after = result.rmse(name, NONE), result.rmse(name)
    sd = float(np.nanstd(result.local.targets[name], ddof=1))
    text = (
        f"On local soils that were left out in turn, the RMSE is {digits(after)} instead of {digits(before)}. The "
        f"regression of the local soils alone has {percent(weights[LOCAL])} of the weight."
    )
    if after > before:
        text += " The local soils do not improve the estimates of the run: use the run as it is, or measure more soils."
    if after > sd:
        text += (
            f" The mean of the local soils is as good (SD {digits(sd)}): do not use the estimates to tell them apart."
        )
    bias_error = after / count**0.5
    return (
        f"{title}: {text} With {count} soils, the remaining bias is about {digits(bias_error, 2)} (one standard "
        f"error); {2 * count} soils would make it {digits(bias_error / 2**0.5, 2)} or less."
    )


def _instrument(correction: InstrumentCorrection) -> str:
    """Which correction of the instrument was chosen, and the error of every method."""
    head = f"<h2>Instrument</h2>\n<p>{escape(correction.statement[0].upper() + correction.statement[1:])}.</p>\n"
    caption = (
        "The correction acts on absorbance, before everything else; every figure below, also of the run as it is, "
        "includes it. The stored training soils are scans of the first instrument; they do not test this model."
    )
    if not correction.squares:
        return f'{head}<p class="caption">{caption}</p>'
    rows = "\n".join(
        f'<tr><th scope="row">{method}</th><td>{"<strong>" * chosen}{rms:.3f}{"</strong>" * chosen}</td></tr>'
        for method, rms in correction.rms.items()
        for chosen in [method == correction.method]
    )
    return (
        f'{head}<div class="scroll"><table>\n<thead><tr><th>Correction</th><th>RMS difference, SD</th></tr></thead>\n'
        f'{rows}\n</table></div>\n<p class="caption">Difference between the estimates of the run from the scan of a '
        f"sample on the first instrument and from the corrected scan on the second, over the targets, in SDs on the "
        f"modelled scale; each sample was left out of the fit of its correction. Bold: the simplest correction within "
        f"one standard error of the smallest mean square. {caption}</p>"
    )


def _row(result: Adaptation, method: str) -> str:
    """RMSE of a method for each target, with its weight."""
    cells = []
    for name in result.adapted:
        rmse = digits(result.rmse(name, method))
        if method == COMBINED:
            cells.append(f"<td><strong>{rmse}</strong></td>")
        else:
            cells.append(f"<td>{rmse} <small>({percent(result.combination(name).weights[method])})</small></td>")
    return f'<tr><th scope="row">{method}</th>{"".join(cells)}</tr>'


def _picture(result: Adaptation, name: str, position: int) -> str:
    known = np.isfinite(result.local.targets[name])
    bounds = result.bounds(name)
    predicted = {"run as it is": result.before[name][known], "adapted, soil left out": result.held_out(name)[known]}
    return one_to_one(
        result.local.targets[name][known],
        predicted,
        None if bounds is None else (bounds[0][known], bounds[1][known]),
        target=name,
        colour=PALETTE[position % len(PALETTE)],
    )


def _interval_row(result: Adaptation, name: str) -> str:
    interval, bounds = result.targets[name].interval, result.bounds(name)
    if interval is None or bounds is None:
        return f'<tr><th scope="row">{escape(name)}</th><td colspan="3">the run has no intervals</td></tr>'
    half_width = float(np.nanmedian(bounds[1] - bounds[0])) / 2
    return (
        f'<tr><th scope="row">{escape(with_unit(name, unit(name)))}</th><td>{percent(interval.coverage)}</td>'
        f"<td>{digits(half_width)}</td><td>{result.count(name)}</td></tr>"
    )


def _limit(before: float, after: float) -> str:
    return f"{digits(before)} to {digits(after)}" if after > before else f"{digits(before)}, unchanged"
