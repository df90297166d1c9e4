"""The card of a bundle: card.json for programs and in every file, card.md for people.

No date and nothing that the machine's speed decides: two exports of one run are the same bytes. Times stand in
verification.json.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from export.bundling.stored_run import StoredRun
from export.recipes import Recipe
from export.runtime.soil_scan import FORMAT, SoilScan
from export.verify.golden import soil_count
from relple_tf.evaluation.formatting import with_unit
from relple_tf.evaluation.metrics import scores
from relple_tf.training.intervals import Interval

Card = dict[str, Any]

FROM_RUN = ("source", "simulated", "data_sha256", "soils", "input", "domain", "model", "relevance", "seed", "notes")
"""What a bundle's card has from its run's as it stands."""

CONVERTERS = ("tensorflow", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert")


def card_of(trained: StoredRun, *, front_end_file: str | None) -> Card:
    """The card without variants.

    Args:
        front_end_file: Name of the .tflite that computes features, T2 and Q; None where no variant needs it.
    """
    run = trained.card
    targets = {
        name: {**facts, "modelled": modelled(trained, name), "interval": without_test(facts["interval"])}
        for name, facts in run["targets"].items()
    }
    return {
        "format": FORMAT,
        **{name: run[name] for name in FROM_RUN},
        "id_column": trained.config.data.id_column,
        "golden_soils": soil_count(trained),
        "targets": {name: {key: facts[key] for key in facts if key != "test"} for name, facts in targets.items()},
        "front_end": {**run["front_end"], **front_end_facts(trained), "file": front_end_file},
        "versions": {"training": run["versions"], "export": versions()},
    }


def versions() -> dict[str, str]:
    """Package -> version, of those that made and ran the files; a runtime that is not installed ran none."""
    found = {name: version(name) for name in CONVERTERS}
    with contextlib.suppress(PackageNotFoundError):
        found["tflite-micro"] = version("tflite-micro")
    return found


def modelled(trained: StoredRun, target: str) -> Card:
    """How standard deviations become laboratory units, for a device that does it itself."""
    return {name: value for name, value in dataclasses.asdict(trained.scales[target]).items() if name != "name"}


def without_test(interval: Mapping[str, Any] | None) -> Card | None:
    """An interval's own facts; what it did on the test soils belongs to a variant."""
    return None if interval is None else {name: value for name, value in interval.items() if name != "test"}


def front_end_facts(trained: StoredRun) -> Card:
    """Window and order of the derivatives."""
    config = trained.config.front_end
    return {
        "step_nm": config.step_nm,
        "derivative_window_nm": config.derivative_window_nm,
        "derivative_polynomial": config.derivative_polynomial,
    }


def variant_facts(
    recipe: Recipe, file: str, content: bytes, c_tables_bytes: int, verification: Mapping[str, Any]
) -> Card:
    """What is known of one file before a scan is run.

    Args:
        recipe: That it was made by.
        file: Its name.
        content: The file without its card.
        c_tables_bytes: Of the C source that a device needs beside it.
        verification: As `Verification.as_dict` gives it.
    """
    return {
        "file": file,
        "recipe": recipe_facts(recipe),
        "reads": recipe.reads,
        "model_bytes": len(content),
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "gzip_bytes": verification["gzip_bytes"],
        "flash_bytes": len(content) + c_tables_bytes,
        "arena_bytes": arena_bytes(verification),
        "macs": verification["macs"],
        "operators": verification["operators"],
        "largest_error_sd": largest_error_sd(verification),
        "runtimes": {name: outcome(found) for name, found in verification["runtimes"].items()},
    }


def recipe_facts(recipe: Recipe) -> Card:
    """A recipe as JSON: tuples as lists."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(recipe).items()}


def arena_bytes(verification: Mapping[str, Any]) -> int | None:
    """What TFLM needs; None where it was not measured."""
    sizes = [found.get("arena_bytes") for found in verification["runtimes"].values()]
    return next((size for size in sizes if size is not None), None)


def largest_error_sd(verification: Mapping[str, Any]) -> dict[str, float]:
    """Target -> largest difference from Keras on any test scan and runtime, in SDs of the target's test values."""
    worst: dict[str, float] = {}
    for found in verification["runtimes"].values():
        for target, errors in (found.get("targets") or {}).items():
            worst[target] = max(worst.get(target, 0.0), errors["largest_error_sd"])
    return worst


def outcome(found: Mapping[str, Any]) -> str:
    """`passed`, or why a runtime does not run a file."""
    if found.get("unavailable"):
        return str(found["unavailable"])
    return f"lacks {', '.join(found['lacks'])}" if found.get("lacks") else "passed"


def tested(device: SoilScan, trained: StoredRun) -> Card:
    """What a variant does on the test scans, as its user has it: through soil_scan.py.

    Returns:
        Statuses and how many scans have each; per target R2 and RMSE against the laboratory, those that Keras has on
        the same scans, the largest and the RMS difference from Keras, and the share of laboratory values within their
        interval. A scan without an estimate has no part in these.
    """
    found = [device.estimate(scan) for scan in trained.test_scans]
    whole = np.array([estimate.values is not None for estimate in found])
    statuses = [estimate.status for estimate in found]
    targets = {}
    for name, facts in device.targets.items():
        measured = trained.test_values[name][whole]
        values = np.array([estimate.values[name] for estimate in found if estimate.values is not None])
        keras = trained.test_outputs[name][whole].astype("float64")
        own, reference = scores(measured, values), scores(measured, keras)
        targets[name] = {
            **{figure: own[figure] for figure in ("n", "r2", "rmse")},
            "keras_r2": reference["r2"],
            "keras_rmse": reference["rmse"],
            "largest_error": float(np.abs(values - keras).max()),
            "rms_error": float(np.sqrt(np.mean((values - keras) ** 2))),
            "coverage": coverage(facts["interval"], measured, values, difficulties(found, device)),
        }
    return {"statuses": {status: statuses.count(status) for status in ("ok", "outside", "invalid")}, "targets": targets}


def difficulties(found: list[Any], device: SoilScan) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of the scans that have an estimate, as intervals grow by it."""
    t2 = np.array([estimate.t2 for estimate in found if estimate.t2 is not None])
    distances: np.ndarray[Any, np.dtype[np.float64]] = np.sqrt(t2 / device.card["domain"]["limits"]["T2"])
    return distances


def coverage(facts: Card | None, measured: Any, values: Any, difficulty: Any) -> float | None:
    """Share of the laboratory values that lie within their interval; None where there is none."""
    if facts is None or facts["half_width"] is None:
        return None
    known = ~np.isnan(measured)
    low, high = Interval(**facts).bounds(values, difficulty)
    return float(np.mean((low <= measured)[known] & (measured <= high)[known]))


def markdown(card: Card) -> str:
    """card.md."""
    quantity, nm = card["input"]["quantity"], card["input"]["wavelengths_nm"]
    default = card["variants"][card["default_variant"]]
    soils = card["soils"]
    title = ", ".join(with_unit(name, facts["unit"]) for name, facts in card["targets"].items())
    parts = [
        f"# {title} from a near-infrared scan",
        f"{card['model']['preset']} of relple_tf, {card['model']['weights']:,} weights, trained on {soils['train']:,} "
        f"soils of `{card['source']}` and tested on {soils['test']:,}.",
    ]
    if card["simulated"]:
        parts.append("**StoredRun on simulated spectra: no value of it is a laboratory value.**")
    parts += [
        f"It reads {quantity} at {len(nm):,} wavelengths, {nm[0]:g} to {nm[-1]:g} nm (all in card.json).",
        "## What it estimates",
        rows_of(
            ("target", "unit", "estimates from", "to", f"test R2, `{card['default_variant']}`", "RMSE", "interval"),
            [
                (
                    name,
                    facts["unit"] or "-",
                    f"{facts['lowest']:.3g}",
                    f"{facts['highest']:.3g}",
                    f"{default['test']['targets'][name]['r2']:.3f}",
                    f"{default['test']['targets'][name]['rmse']:.3g}",
                    interval_text(facts["interval"], default["test"]["targets"][name]["coverage"]),
                )
                for name, facts in card["targets"].items()
            ],
        ),
        f"A scan is `outside` where T2 is above {card['domain']['limits']['T2']:.4g} or Q above "
        f"{card['domain']['limits']['Q']:.4g}: it is unlike the soils that were learned from, so do not trust its "
        "values. It is `invalid`, and has no values, where it is no scan of a soil at all.",
        "## Files",
        rows_of(
            ("variant", "file", "bytes", "flash", "arena", *(f"R2 {name}" for name in card["targets"]), "what it is"),
            [
                (
                    name,
                    facts["file"],
                    f"{facts['bytes']:,}",
                    f"{facts['flash_bytes']:,}",
                    "-" if facts["arena_bytes"] is None else f"{facts['arena_bytes']:,}",
                    *(f"{facts['test']['targets'][target]['r2']:.3f}" for target in card["targets"]),
                    facts["recipe"]["description"],
                )
                for name, facts in card["variants"].items()
            ],
        ),
        "Bytes are those of the file with its card; flash is the model without it and, where a core reads features, "
        "the tables of front_end.c and domain.c; the code of TFLM comes on top. The arena is the least that TFLM ran "
        "in on x86-64; align it to 16 bytes and leave room.",
        f"`python soil_scan.py . scans.csv` estimates a table of scans with `{card['default_variant']}`; it needs "
        "numpy and ai-edge-litert. `c/` holds the sources for a microcontroller (the head of `c/VARIANT/model.h` "
        "says how to run a scan), golden.json and golden.npz what every runtime must give, verification.json what each "
        "gave here. `sha256sum -c SHA256SUMS` checks the files.",
        f"golden.json and golden.npz hold {card['golden_soils']} scans of training and test soils with their names. "
        "The bundle holds no other scans.",
    ]
    if card["notes"]:
        parts += ["## Said in training", "\n".join(f"- {note}" for note in card["notes"])]
    return "\n\n".join(parts) + "\n"


def interval_text(facts: Card | None, achieved: float | None) -> str:
    """An interval in a few words."""
    if facts is None or facts["half_width"] is None or achieved is None:
        return "none"
    return f"{facts['coverage']:.0%}, held {achieved:.0%}"


def rows_of(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))
