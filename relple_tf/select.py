"""`python -m relple_tf.select`: select the samples to send to the laboratory by their scans."""

import csv
import io
import sys
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from relple_tf.command_line import Parser, notify, run
from relple_tf.errors import InputError
from relple_tf.processes import import_tensorflow

if TYPE_CHECKING:
    from relple_tf.artefacts.outputs import OutputFile

METHODS = ("k_medoids", "kennard_stone", "latin_hypercube")
"""Same as in `relple_tf.selection.methods`, which imports SciPy; the first is the default."""
REQUIRED = ["id", "order", "reason", "represents", "distance"]
OPTIONAL = {"scan", "group", "calibration_distance", "status", "widest_interval", "widest_target"}
"""Columns of the table that this command writes."""
PICTURE_SIGNATURE = b"Software\0relple_tf.select"
"""Text chunk of the picture; same as in `relple_tf.selection.plot`, which imports matplotlib."""


def main(arguments: list[str]) -> None:
    """Parse the arguments, select, write CSV to stdout or to a file with a picture next to it."""
    parser = Parser(prog="python -m relple_tf.select", description=__doc__)
    parser.add_argument("scans", metavar="SCANS", type=Path, help="table (CSV, Parquet, Excel) or folder of scans")
    parser.add_argument("--count", metavar="N", type=int, required=True, help="number of samples to select")
    parser.add_argument("--run", metavar="RUN", type=Path, help="run folder: its soils are known already")
    parser.add_argument(
        "--group", metavar="COLUMN", help="column of groups, such as fields, to spread the selection over"
    )
    parser.add_argument("--method", metavar="NAME", default=METHODS[0], help=f"one of {', '.join(METHODS)}")
    parser.add_argument("--out", metavar="FILE", type=Path, help="CSV to write, with a picture FILE.png next to it")
    options = parser.parse_args(arguments)
    if options.count < 1:
        raise InputError(f"--count: expected 1 or more, received {options.count}")
    if options.method not in METHODS:
        raise InputError(f"--method: expected one of {', '.join(METHODS)}; received {options.method!r}")
    inputs = (options.scans, options.run) if options.run else (options.scans,)
    out, picture = output_files(options.out, inputs)
    import_tensorflow()
    from relple_tf.csv_text import csv_text
    from relple_tf.selection import select
    from relple_tf.selection.calibrated_run import CalibratedRun
    from relple_tf.selection.reading import read_candidates

    known = CalibratedRun.read(options.run) if options.run else None
    library = read_candidates(options.scans, options.group or "", known)
    by_group = options.group is not None
    selection = select(library, options.count, run=known, by_group=by_group, method=options.method)
    for note in (*library.notes, *(f"warning: {doubt}" for doubt in library.doubts), *selection.notes):
        notify(note)
    if picture:
        from relple_tf.selection.plot import selection_png

        content = selection_png(selection)
    with out.opened() if out else nullcontext(sys.stdout) as file:
        file.write(csv_text(selection.table, float_format="%.6g"))
    if picture:
        picture.write(content)
    if out:
        notify(f"{out.path}: {len(selection.table)} samples" + (f"; picture: {picture.path}" if picture else ""))


def output_files(path: Path | None, inputs: tuple[Path, ...]) -> "tuple[OutputFile | None, OutputFile | None]":
    """Check `--out`, and the picture next to it; a device, a pipe or standard output has no picture.

    Raises:
        InputError: a file may not be written, or both would have the same name.
    """
    from relple_tf.artefacts.outputs import OutputFile

    if path is None:
        return None, None
    table = OutputFile(path=path, is_replaceable=holds_selection, inputs=inputs)
    table.check()
    if table.is_direct:
        return table, None
    if path.suffix == ".png":
        raise InputError(f"--out {path}: the picture has this name; give the name of a CSV file")
    picture = OutputFile(path=path.with_suffix(".png"), is_replaceable=holds_picture, inputs=inputs)
    picture.check()
    return table, picture


def holds_selection(path: Path) -> bool:
    """Whether this command wrote a file: a table with its columns in their order."""
    with path.open("rb") as file:
        start = file.read(1 << 16).decode(errors="replace")
    try:
        header = next(islice(csv.reader(io.StringIO(start, newline="")), 1), [])
    except csv.Error:
        return False
    return [name for name in header if name not in OPTIONAL] == REQUIRED


def holds_picture(path: Path) -> bool:
    """Whether this command wrote a picture: a PNG with `PICTURE_SIGNATURE`."""
    with path.open("rb") as file:
        start = file.read(1 << 12)
    return start.startswith(b"\x89PNG\r\n\x1a\n") and PICTURE_SIGNATURE in start


if __name__ == "__main__":
    run(main)
