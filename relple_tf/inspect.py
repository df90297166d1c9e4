"""`python -m relple_tf.inspect`: show what the readers find in a source, before training."""

import argparse
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from relple_tf.command_line import Parser, add_data_and_config, config_from, notify, run


def main(arguments: list[str]) -> None:
    """Parse the arguments, read the source, print what was found and write the page."""
    parser = Parser(
        prog="python -m relple_tf.inspect", description=f"{__doc__} The other flags are those of relple_tf.train."
    )
    add_data_and_config(parser, positional=True)
    parser.add_argument("--out", metavar="FILE.html", type=Path, help="HTML page to write, with pictures")
    options = parser.parse_args(arguments)
    config = config_from(options)
    from relple_tf.artefacts.outputs import OutputFile
    from relple_tf.inspection.page import inspection_page, is_inspection_page

    out = None
    if options.out is not None:
        inputs = tuple(Path(name).expanduser() for name in (config.data.source, config.data.lab) if name)
        out = OutputFile(path=options.out, is_replaceable=is_inspection_page, inputs=inputs)
        out.check()
    from relple_tf.inspection.facts import Inspection
    from relple_tf.inspection.text import inspection_text
    from relple_tf.spectra.readers.laboratory_columns import NoLaboratoryValuesError
    from relple_tf.spectra.sources.named import load

    no_values = ""
    try:
        library = load(config)
    except NoLaboratoryValuesError as error:
        no_values = str(error).removeprefix(f"{config.data.source}: ")
    if no_values:  # outside the handler, which keeps the spectra of the first reading in memory
        library = load(config, laboratory=False)
    command = "" if no_values else train_command(options, config.data.lab, config.data.targets or library.targets)
    inspection = Inspection(library=library, command=command, no_values=no_values)
    sys.stdout.write(inspection_text(inspection))
    if out:
        with out.opened() as file:
            file.write(inspection_page(inspection))
        notify(f"Page: {out.path}")


def train_command(options: argparse.Namespace, lab: str, targets: Iterable[str]) -> str:
    """The command that trains on the source with the flags of this command."""
    words = ["python", "-m", "relple_tf.train", "--data", options.data]
    given = {"--lab": lab, "--targets": ",".join(targets), "--preset": options.preset, "--config": options.config}
    for flag, value in given.items():
        words += [flag, str(value)] if value else []
    for assignment in options.set:
        words += ["--set", assignment]
    if options.seed is not None:
        words += ["--seed", str(options.seed)]
    return shlex.join(words)


if __name__ == "__main__":
    run(main)
