"""The inspection as a single HTML page for screen, phone and print.

It has no scripts, no external resources and no date: the same source gives the same page, byte for byte. The text is in
`page.html`; this module fills in the facts.
"""

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from relple_tf.evaluation.formatting import unit, with_unit
from relple_tf.inspection import plots
from relple_tf.inspection.facts import QUANTITY_NAMES, STATISTICS, WITHOUT_VALUES, Inspection
from relple_tf.report.plots import figures

MARKER = '<meta name="generator" content="relple_tf.inspect">'
"""In the head of every page, so that the command recognises its pages."""
VALUES = (
    "These are the values that training uses, in the units of the names. n: rows with a value; missing: rows without "
    "one. Dashed line of a histogram: median. Pearson correlation over the rows with both values."
)
NOT_RUN = "The checks of scans run on tables and instrument files; this source is built in."


def inspection_page(inspection: Inspection) -> str:
    """The page as HTML, without external resources."""
    library = inspection.library
    page, report = resources.files("relple_tf.inspection"), resources.files("relple_tf.report")
    return Template(page.joinpath("page.html").read_text("utf-8")).substitute(
        marker=MARKER,
        title=escape(f"Inspection of {Path(library.source).name or library.source}"),
        style=report.joinpath("page.css").read_text("utf-8"),
        doubts=_doubts(inspection.doubts),
        facts="\n".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in inspection.facts.items()),
        spectra=_spectra(inspection),
        farthest=_farthest(inspection),
        targets=_targets(inspection),
        checks=_checks(inspection),
        notes=_items(library.notes or ("none",)),
        train=_train(inspection),
    )


def is_inspection_page(path: Path) -> bool:
    """Whether `inspection_page` made the text of a file."""
    with path.open("rb") as file:
        return MARKER.encode() in file.read(1024)


def _items(texts: Iterable[str]) -> str:
    return "\n".join(f"<li>{escape(text)}</li>" for text in texts)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]], *, words: bool = False) -> str:
    """A table of escaped texts; the first cell of a row is its heading, and `words` aligns the other cells left."""
    kind = ' class="words"' if words else ""
    head = "".join(f"<th{kind if i else ''}>{escape(name)}</th>" for i, name in enumerate(heading))
    body = "\n".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td{kind}>{escape(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _doubts(doubts: Sequence[str]) -> str:
    return f'<div class="warning"><p>Check the data:</p><ul>\n{_items(doubts)}\n</ul></div>' if doubts else ""


def _spectra(inspection: Inspection) -> str:
    library = inspection.library
    return plots.all_spectra(
        library.wavelengths_nm,
        library.spectra,
        {library.row_name(row): library.spectra[row] for row in inspection.farthest},
        axis=QUANTITY_NAMES[library.quantity],
    )


def _farthest(inspection: Inspection) -> str:
    if inspection.distances is None:
        return '<p class="caption">There are too few different scans to compare their distances.</p>'
    name = inspection.library.row_name
    rows = [(name(row), f"{distance:.1f}") for row, distance in inspection.farthest.items()]
    caption = (
        "The farthest scans of every source are listed; they are not errors. Distance: root mean square of the robust "
        f"z-scores (median and MAD) of {inspection.distances.components} principal components of absorbance; about 1 "
        "for a typical scan. Look at a scan whose distance is several times that of the next."
    )
    return _table(("farthest scans", "distance"), rows) + f'\n<p class="caption">{caption}</p>'


def _targets(inspection: Inspection) -> str:
    library = inspection.library
    if inspection.no_values:
        return f"<p>None: {escape(inspection.no_values)}</p>"
    rows = [(name, *texts) for name, texts in inspection.target_texts.items()]
    styles = figures.line_styles(list(library.targets))
    images = [
        plots.histogram(values[np.isfinite(values)], with_unit(name, unit(name)), colour=styles[name]["color"])
        for name, values in library.targets.items()
    ]
    if len(library.targets) > 1:
        images.append(figures.heat_map(inspection.correlations, title="Correlation of the targets", signed=True))
    caption = f'<p class="caption">{VALUES}</p>\n<div class="pictures">'
    return "\n".join((_table(("target", "unit", *STATISTICS), rows), caption, *images, "</div>"))


def _checks(inspection: Inspection) -> str:
    if not inspection.library.checks:
        return f"<p>{NOT_RUN}</p>"
    return _table(("check", "result"), [(c.name, c.result) for c in inspection.library.checks], words=True)


def _train(inspection: Inspection) -> str:
    if not inspection.command:
        return f"<p>{WITHOUT_VALUES[0].upper()}{WITHOUT_VALUES[1:]}.</p>"
    return f'<pre class="command">{escape(inspection.command)}</pre>'
