"""`python -m export.bundle`: files with which devices run a trained model, each verified against the Keras model."""

import re
from pathlib import Path
from typing import Any

from export.budget import Budget, read_budget
from export.recipes import DEFAULT, RECIPES, parse_recipes
from relple_tf.command_line import Parser, notify, run
from relple_tf.errors import InputError
from relple_tf.processes import import_tensorflow

FIRMWARE = ["M4 flash", "M4 RAM", "M4 instructions"]
"""Columns of `c_table` for the smallest firmware on a Cortex-M4."""


def main(arguments: list[str]) -> None:
    """Parse the arguments, export the run, print a table of the variants."""
    parser = Parser(prog="python -m export.bundle", description=__doc__)
    parser.add_argument("run", metavar="RUN", type=Path, help="run folder made by relple_tf.train")
    parser.add_argument(
        "--recipes",
        metavar="NAMES",
        default="",
        help=f"names from {','.join(RECIPES)}, or all; default: {','.join(DEFAULT)}",
    )
    parser.add_argument(
        "--budget",
        metavar="FILE",
        type=Path,
        help="TOML file with flash_bytes, arena_bytes, largest_error (in test SDs)",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder of the bundle; default: RUN-bundle")
    parser.add_argument(
        "--c-prefix",
        metavar="NAME",
        default="soil",
        help="prefix of the names in C, so that two models link into one program; default: soil",
    )
    options = parser.parse_args(arguments)
    recipes = parse_recipes(options.recipes)
    budget = read_budget(options.budget) if options.budget else Budget()
    if not options.run.is_dir():
        raise InputError(f"{options.run}: no such folder; give the folder of a finished run")
    if not re.fullmatch("[a-z][a-z0-9_]{0,30}", options.c_prefix):
        raise InputError(
            "--c-prefix: expected lower-case letters, digits and underscores, such as soil, "
            f"received {options.c_prefix!r}"
        )
    out = options.out or Path(f"{options.run.resolve()}-bundle")
    from relple_tf.artefacts.outputs import check_folder

    check_folder(out, (options.run,))
    import_tensorflow()
    from export.bundling.assembly import assemble

    assemble(
        options.run,
        recipes,
        budget,
        out,
        notify=notify,
        show=lambda card: print(f"{table(card)}\n\n{c_table(card)}".strip(), flush=True),
        c_prefix=options.c_prefix,
    )
    notify(f"Bundle: {out}")


def table(card: dict[str, Any]) -> str:
    """Format a line per variant: sizes in bytes, test R2, largest error in SDs of the test values, runtimes, budget.

    The lines after them hold the R2 of Keras, and the runtimes that did not run a variant, with the reason.
    """
    targets = list(card["targets"])
    has_budget = any(limit is not None for limit in card["budget"].values())
    head = ["variant", "file", "gzip", "arena", *(f"R2 {target}" for target in targets), "error", "runtimes"]
    rows = [head + ["budget"] * has_budget]
    for name, facts in card["variants"].items():
        runtimes = facts["runtimes"]
        passed = [runtime for runtime, outcome in runtimes.items() if outcome == "passed"]
        row = [
            name,
            f"{facts['model_bytes']:,}",
            f"{facts['gzip_bytes']:,}",
            "-" if facts["arena_bytes"] is None else f"{facts['arena_bytes']:,}",
            *(f"{facts['test']['targets'][target]['r2']:.3f}" for target in targets),
            f"{max(facts['largest_error_sd'].values()):.2g}",
            f"{len(passed)}/{len(runtimes)}",
        ]
        rows.append(row + [", ".join(facts["budget"]) or "fits"] * has_budget)
    keras = next(iter(card["variants"].values()))["test"]["targets"]
    rows.append(
        ["Keras", "", "", "", *(f"{keras[target]['keras_r2']:.3f}" for target in targets), "", "", ""][: len(head)]
    )
    rows[-1] += [""] * has_budget
    return "\n".join([aligned(rows), *not_run(card)])


def c_table(card: dict[str, Any]) -> str:
    """Format a line per C model: bytes of tables and work buffer, test R2, error, and the firmware on a Cortex-M4."""
    models = card["c"]["models"] if "c" in card else {}
    if not models:
        return ""
    targets = list(card["targets"])
    head = ["C model", "folder", "tables", "work", *(f"R2 {target}" for target in targets), "error", *FIRMWARE]
    rows = [head]
    for name, facts in models.items():
        core = facts["cortex_m"].get("cores", {}).get("Cortex-M4")
        figures = [core["flash_bytes"], core["ram_bytes"], core["instructions"]["total"]] if core else []
        rows.append(
            [
                name,
                facts["folder"],
                f"{facts['table_bytes']:,}",
                f"{facts['work_bytes']:,}",
                *(f"{facts['test']['targets'][target]['r2']:.3f}" for target in targets),
                f"{max(facts['largest_error_sd'].values()):.2g}",
                *([f"{figure:,}" for figure in figures] or ["-"] * len(FIRMWARE)),
            ]
        )
    first = next(iter(models.values()))
    notes = [f"verified with {first['verified_with']}"]
    if reason := first["cortex_m"].get("not_measured"):
        notes.append(f"not measured on Cortex-M: {reason}")
    return "\n".join([aligned(rows), *notes])


def aligned(rows: list[list[str]]) -> str:
    """Pad the cells of each column to equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def not_run(card: dict[str, Any]) -> list[str]:
    """A line for each runtime and reason for which it did not run variants, with the names of the variants."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, facts in card["variants"].items():
        for runtime, outcome in facts["runtimes"].items():
            if outcome != "passed":
                reasons.setdefault((runtime, outcome), []).append(name)
    return [f"not on {runtime}: {outcome}: {', '.join(names)}" for (runtime, outcome), names in reasons.items()]


if __name__ == "__main__":
    run(main)
