"""`python -m export.bundle`: files with which devices run a trained model, each verified against the Keras model."""

from pathlib import Path
from typing import Any

from export.budget import Budget, read_budget
from export.recipes import DEFAULT, RECIPES, parse_recipes
from relple_tf.command_line import Parser, notify, run
from relple_tf.errors import InputError
from relple_tf.processes import import_tensorflow


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
    options = parser.parse_args(arguments)
    recipes = parse_recipes(options.recipes)
    budget = read_budget(options.budget) if options.budget else Budget()
    if not options.run.is_dir():
        raise InputError(f"{options.run}: no such folder; give the folder of a finished run")
    out = options.out or Path(f"{options.run.resolve()}-bundle")
    from relple_tf.artefacts.outputs import check_folder

    check_folder(out, (options.run,))
    import_tensorflow()
    from export.bundling.assembly import assemble

    assemble(options.run, recipes, budget, out, notify=notify, show=lambda card: print(table(card), flush=True))
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
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines + not_run(card))


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
