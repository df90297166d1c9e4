"""`python -m relple_tf.predict`: predict laboratory values of scans with a run or a bundle."""

import csv
import io
import re
import sys
from contextlib import nullcontext
from itertools import islice
from pathlib import Path

from relple_tf.command_line import Parser, notify, run
from relple_tf.processes import import_tensorflow

STATUSES = ("ok", "outside", "invalid")
"""Same as in `relple_tf.models.domain`, which imports Keras."""


def main(arguments: list[str]) -> None:
    """Parse the arguments, predict, write CSV to stdout or to a file."""
    parser = Parser(prog="python -m relple_tf.predict", description=__doc__)
    parser.add_argument("run", metavar="RUN_OR_BUNDLE", type=Path, help="folder of relple_tf.train or export.bundle")
    parser.add_argument("scans", metavar="SCANS", type=Path, help="CSV or Parquet table, or a folder of scans")
    parser.add_argument("--out", metavar="FILE", type=Path, help="CSV to write; default: standard output")
    parser.add_argument(
        "--need",
        metavar="TARGET=WIDTH,...",
        help="largest half width of the prediction interval that you accept, in the unit of the target, such as "
        "OC_g_kg=3,pH=0.3; adds a column TARGET_decision: keep, or send the soil to the laboratory",
    )
    options = parser.parse_args(arguments)
    from relple_tf.artefacts.outputs import OutputFile
    from relple_tf.prediction.needs import parse_needs

    needs = {} if options.need is None else parse_needs(options.need)
    out = None
    if options.out is not None:
        inputs = (options.run, options.scans)
        out = OutputFile(path=options.out, is_replaceable=holds_predictions, inputs=inputs)
        out.check()
    import_tensorflow()
    from relple_tf.csv_text import csv_text
    from relple_tf.prediction.bundles import is_bundle, predict_bundle
    from relple_tf.prediction.runs import predict_table
    from relple_tf.runs.folder import RunFolder

    if is_bundle(options.run):
        table, notes = predict_bundle(options.run, options.scans, needs)
    else:
        table, notes = predict_table(RunFolder(path=options.run), options.scans, needs)
    for note in notes:
        notify(note)
    with out.opened() if out else nullcontext(sys.stdout) as file:
        # Six digits: more than the precision of a laboratory, less than the digits of float32.
        file.write(csv_text(table, float_format="%.6g"))
    if out:
        notify(f"{out.path}: {len(table)} scans")


def holds_predictions(path: Path) -> bool:
    """Whether this command wrote a file: id, scan (optional), targets with intervals and decisions, status."""
    from relple_tf.evaluation.keep_or_send import DECISIONS, SUFFIX

    with path.open("rb") as file:
        start = file.read(1 << 16).decode(errors="replace")
    try:
        header, first = [*islice(csv.reader(io.StringIO(start, newline="")), 2), [], []][:2]
    except csv.Error:
        return False
    names = 2 if header[1:2] == ["scan"] else 1
    targets = [name for name in header[names:-1] if not name.endswith(("_low", "_high", SUFFIX))]
    expected = {*targets, *(f"{name}{end}" for name in targets for end in ("_low", "_high", SUFFIX))}
    if any(re.search(r"\d{3}", name) for name in targets):  # names of bands: a spectral library
        return False
    shape = header[:1] == ["id"] and header[-1:] == ["status"] and bool(targets) and set(header[names:-1]) <= expected
    # Only a target with an interval has decisions.
    decided = [name for name in targets if f"{name}{SUFFIX}" in header]
    shape = shape and {f"{name}{end}" for name in decided for end in ("_low", "_high")} <= set(header)
    decisions = {cell for name, cell in zip(header, first, strict=False) if name.endswith(SUFFIX)}
    return shape and decisions <= set(DECISIONS) and (not first or first[-1] in STATUSES)


if __name__ == "__main__":
    run(main)
