"""`python -m relple_tf.predict`: laboratory values of scans, from a run or a bundle."""

import sys
from pathlib import Path

from relple_tf.command_line import Parser, run, say
from relple_tf.errors import InputError
from relple_tf.processes import import_tensorflow


def main(arguments: list[str]) -> None:
    """Parse, predict, write CSV to stdout or a file."""
    parser = Parser(prog="python -m relple_tf.predict", description=__doc__)
    parser.add_argument("run", metavar="RUN_OR_BUNDLE", type=Path, help="a folder of relple_tf.train or export.bundle")
    parser.add_argument("scans", metavar="SCANS", type=Path, help="a CSV or Parquet table of scans")
    parser.add_argument("--out", metavar="FILE", type=Path, help="CSV to write; default: standard output")
    options = parser.parse_args(arguments)
    if options.out and (options.out.is_dir() or not options.out.absolute().parent.is_dir()):
        raise InputError(f"--out {options.out}: give the name of a file in a folder that exists")

    import_tensorflow()
    from relple_tf.evaluation.bundled import is_bundle, predict_bundle
    from relple_tf.evaluation.prediction import predict_table
    from relple_tf.training.files import write_text
    from relple_tf.training.runs import RunFolder

    if is_bundle(options.run):
        table, notes = predict_bundle(options.run, options.scans)
    else:
        table, notes = predict_table(RunFolder(path=options.run), options.scans)
    for note in notes:
        say(note)
    # Six digits: more than any laboratory has, fewer than float32 pretends to.
    text = table.to_csv(index=False, float_format="%.6g")
    if options.out:
        write_text(options.out, text)
        say(f"{options.out}: {len(table)} scans")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    run(main)
