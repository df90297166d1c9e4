"""`python -m relple_tf.adapt`: correct the estimates of a run by local soils with laboratory values."""

from pathlib import Path

from relple_tf.command_line import Parser, notify, run
from relple_tf.processes import import_tensorflow


def main(arguments: list[str]) -> None:
    """Parse the arguments, adapt, print what was done."""
    parser = Parser(prog="python -m relple_tf.adapt", description=__doc__)
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of relple_tf.train or of an earlier adaptation")
    parser.add_argument(
        "--data", metavar="SOURCE", required=True, help="local scans: a table, an instrument file or a folder of scans"
    )
    parser.add_argument("--lab", metavar="FILE", default="", help="table of laboratory values, joined by sample name")
    instrument = parser.add_mutually_exclusive_group()
    instrument.add_argument(
        "--paired",
        metavar=("A", "B"),
        nargs=2,
        type=Path,
        help="scans of the same samples on the instrument of the run (A) and on that of the local soils (B)",
    )
    instrument.add_argument(
        "--reference",
        metavar=("A", "B"),
        nargs=2,
        type=Path,
        help="scans of one material, such as a reference tile or a sand, on both instruments",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="run folder to write; default: the next free one in runs/"
    )
    options = parser.parse_args(arguments)
    from relple_tf.artefacts.outputs import check_folder

    if options.out is not None:
        check_folder(options.out)
    import_tensorflow()
    from relple_tf.adaptation.adapted_run import adapt_run
    from relple_tf.adaptation.instrument_run import correction
    from relple_tf.adaptation.stored_run import read_local
    from relple_tf.runs.folder import CONFIG, open_run, read_config

    correct = correction(options.paired, options.reference)
    local = read_local(options.run, options.data, options.lab)
    folder = open_run(
        options.out, f"{options.run.resolve().name}-adapted", read_config(options.run / CONFIG), resume=False
    )
    with folder.exclusive():
        result = adapt_run(options.run, local, folder, notify=notify, correct=correct)
    for line in result.statements:
        print(line)
    print(f"\nReport: {folder.path / 'report.html'}")


if __name__ == "__main__":
    run(main)
