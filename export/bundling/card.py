"""The card of a bundle: card.json, which is also in every .tflite, for programs, and card.md for people.

It holds no date and no time, so two exports of one run give the same bytes. Times are in verification.json.
"""

import contextlib
import hashlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from export.bundling.c_models import c_markdown, rows_of
from export.bundling.stored_run import StoredRun
from export.recipes import Recipe
from export.runtime.soil_scan import FORMAT, SoilScan
from export.verify.golden import soil_count
from relple_tf.evaluation.formatting import with_unit
from relple_tf.evaluation.metrics import scores
from relple_tf.runs.card_schema import input_end_tolerance_nm
from relple_tf.training.intervals import Interval

Card = dict[str, Any]

FROM_RUN = ("source", "simulated", "data_sha256", "soils", "domain", "model", "relevance", "seed", "notes")
"""Entries of the run's card that are copied without a change."""

CONVERTERS = ("tensorflow", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert")


def card_of(trained: StoredRun) -> Card:
    """Make the card without variants."""
    run = trained.card
    targets = {name: {**facts, "interval": without_test(facts["interval"])} for name, facts in run["targets"].items()}
    return {
        "format": FORMAT,
        **{name: run[name] for name in FROM_RUN},
        "input": {**run["input"], "end_tolerance_nm": list(input_end_tolerance_nm(run))},
        **({"samples": run["samples"]} if "samples" in run else {}),
        "id_column": trained.config.data.id_column,
        "golden_soils": soil_count(trained),
        "targets": {name: {key: facts[key] for key in facts if key != "test"} for name, facts in targets.items()},
        "front_end": {**run["front_end"], **front_end_facts(trained)},
        "versions": {"training": run["versions"], "export": versions()},
    }


def versions() -> dict[str, str]:
    """Package -> version, for the converters and, if it is installed, tflite-micro."""
    package_versions = {name: version(name) for name in CONVERTERS}
    with contextlib.suppress(PackageNotFoundError):
        package_versions["tflite-micro"] = version("tflite-micro")
    return package_versions


def without_test(interval: Mapping[str, Any] | None) -> Card | None:
    """An interval without its test results, because these depend on the variant."""
    return None if interval is None else {name: value for name, value in interval.items() if name != "test"}


def front_end_facts(trained: StoredRun) -> Card:
    """Grid step, and window and polynomial order of the derivatives."""
    config = trained.config.front_end
    return {
        "step_nm": config.step_nm,
        "derivative_window_nm": config.derivative_window_nm,
        "derivative_polynomial": config.derivative_polynomial,
    }


def variant_facts(recipe: Recipe, file: str, content: bytes, verification: Mapping[str, Any]) -> Card:
    """A variant's part of the card, before the test scans are run.

    Args:
        recipe: Recipe of the variant.
        file: Name of its file.
        content: The file without its card.
        verification: Result of `Verification.as_dict`.
    """
    return {
        "file": file,
        "recipe": recipe_facts(recipe),
        "reads": "scan",  # the readers of bundle format 2 expect this entry
        "model_bytes": len(content),
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "gzip_bytes": verification["gzip_bytes"],
        "arena_bytes": arena_bytes(verification),
        "macs": verification["macs"],
        "operators": verification["operators"],
        "largest_error_sd": largest_error_sd(verification),
        "runtimes": {name: outcome(results) for name, results in verification["runtimes"].items()},
    }


def recipe_facts(recipe: Recipe) -> Card:
    """A recipe for JSON: tuples become lists."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(recipe).items()}


def arena_bytes(verification: Mapping[str, Any]) -> int | None:
    """Size of the arena that TFLM needs; None if it was not measured."""
    sizes = [results.get("arena_bytes") for results in verification["runtimes"].values()]
    return next((size for size in sizes if size is not None), None)


def largest_error_sd(verification: Mapping[str, Any]) -> dict[str, float]:
    """Target -> largest difference from Keras over test scans and runtimes, in SDs of the target's test values."""
    worst: dict[str, float] = {}
    for results in verification["runtimes"].values():
        for target, errors in (results.get("targets") or {}).items():
            worst[target] = max(worst.get(target, 0.0), errors["largest_error_sd"])
    return worst


def outcome(results: Mapping[str, Any]) -> str:
    """`passed`, or the reason for which a runtime did not run a file."""
    if results.get("unavailable"):
        return str(results["unavailable"])
    return f"lacks {', '.join(results['lacks'])}" if results.get("lacks") else "passed"


def measured_accuracy(device: SoilScan, trained: StoredRun) -> Card:
    """Test a variant with soil_scan.py, as its user runs it, on the test scans.

    Returns:
        The number of scans with each status; per target R2 and RMSE of the variant and of Keras on the same scans, the
        largest and the RMS difference from Keras, and the fraction of laboratory values within their interval. Scans
        without an estimate are left out of the figures per target.
    """
    estimates = [device.estimate(scan) for scan in trained.test_scans]
    has_values = np.array([estimate.values is not None for estimate in estimates])
    statuses = [estimate.status for estimate in estimates]
    targets = {}
    for name, facts in device.targets.items():
        measured = trained.test_values[name][has_values]
        values = np.array([estimate.values[name] for estimate in estimates if estimate.values is not None])
        keras = trained.test_outputs[name][has_values].astype("float64")
        variant_scores, keras_scores = scores(measured, values), scores(measured, keras)
        targets[name] = {
            **{figure: variant_scores[figure] for figure in ("n", "r2", "rmse")},
            "keras_r2": keras_scores["r2"],
            "keras_rmse": keras_scores["rmse"],
            "largest_error": float(np.abs(values - keras).max()),
            "rms_error": float(np.sqrt(np.mean((values - keras) ** 2))),
            "coverage": coverage(facts["interval"], measured, values, difficulties(estimates, device)),
        }
    return {"statuses": {status: statuses.count(status) for status in ("ok", "outside", "invalid")}, "targets": targets}


def difficulties(estimates: list[Any], device: SoilScan) -> np.ndarray[Any, np.dtype[np.float64]]:
    """sqrt(T2 / limit) of each scan that has an estimate; intervals grow with it."""
    t2 = np.array([estimate.t2 for estimate in estimates if estimate.t2 is not None])
    difficulty: np.ndarray[Any, np.dtype[np.float64]] = np.sqrt(t2 / device.card["domain"]["limits"]["T2"])
    return difficulty


def coverage(facts: Card | None, measured: Any, values: Any, difficulty: Any) -> float | None:
    """Fraction of the laboratory values within their interval; None if the target has no interval."""
    if facts is None or facts["half_width"] is None:
        return None
    is_measured = ~np.isnan(measured)
    low, high = Interval(**facts).bounds(values, difficulty)
    return float(np.mean((low <= measured)[is_measured] & (measured <= high)[is_measured]))


def markdown(card: Card) -> str:
    """Write the text of card.md."""
    quantity, nm = card["input"]["quantity"], card["input"]["wavelengths_nm"]
    default = card["variants"][card["default_variant"]]
    counts = {part: f"{count:,} soils" for part, count in card["soils"].items()}
    if "samples" in card:
        counts = {part: f"{card['soils'][part]:,} scans of {count:,} soils" for part, count in card["samples"].items()}
    title = ", ".join(with_unit(name, facts["unit"]) for name, facts in card["targets"].items())
    parts = [
        f"# {title} from a near-infrared scan",
        f"{card['model']['preset']} of relple_tf, {card['model']['weights']:,} weights, trained on "
        f"{counts['train']} of `{card['source']}` and tested on {counts['test']}.",
    ]
    if card["simulated"]:
        parts.append("**Trained on simulated spectra: its predictions are not laboratory values.**")
    parts += [
        f"It reads {quantity} at {len(nm):,} wavelengths from {nm[0]:g} to {nm[-1]:g} nm (listed in card.json).",
        "## Targets",
        rows_of(
            ("target", "unit", "predictions from", "to", f"test R2, `{card['default_variant']}`", "RMSE", "interval"),
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
        f"A scan is `outside` if T2 is above {card['domain']['limits']['T2']:.4g} or Q above "
        f"{card['domain']['limits']['Q']:.4g}: it differs from all training soils, so its values are not reliable. A "
        "scan is `invalid`, and has no values, if it cannot be the scan of a soil.",
        "## Files",
        rows_of(
            ("variant", "file", "bytes", "flash", "arena", *(f"R2 {name}" for name in card["targets"]), "description"),
            [
                (
                    name,
                    facts["file"],
                    f"{facts['bytes']:,}",
                    f"{facts['model_bytes']:,}",
                    "-" if facts["arena_bytes"] is None else f"{facts['arena_bytes']:,}",
                    *(f"{facts['test']['targets'][target]['r2']:.3f}" for target in card["targets"]),
                    facts["recipe"]["description"],
                )
                for name, facts in card["variants"].items()
            ],
        ),
        "Bytes: size of the file with its card. Flash: size of the model without the card; the code of TFLM is not "
        "included. Arena: the smallest arena in which TFLM ran on x86-64; align it to 16 bytes and add a reserve.",
        f"`python soil_scan.py . scans.csv` predicts a table of scans with `{card['default_variant']}`; it needs "
        "numpy and ai-edge-litert. The head of `c/VARIANT/model.h` describes how TFLM runs a scan. golden.json "
        "and golden.npz hold the expected results of every runtime, verification.json the results measured during "
        "the export. `sha256sum -c SHA256SUMS` checks the files.",
        *c_markdown(card),
        f"golden.json and golden.npz hold {card['golden_soils']} scans of training and test soils with their ids. "
        "The bundle holds no other scans.",
        "## Page",
        page_text(card["page"]),
    ]
    if card["notes"]:
        parts += ["## Notes from training", "\n".join(f"- {note}" for note in card["notes"])]
    return "\n\n".join(parts) + "\n"


def page_text(page: Card) -> str:
    """What soil_scan.html does, and what verified it."""
    if "unavailable" in page:
        return f"This bundle has no soil_scan.html: {page['unavailable']}."
    errors = ", ".join(f"{target} {error:.2g}" for target, error in page["largest_error_sd"].items())
    return (
        f"`{page['file']}` ({page['bytes']:,} bytes) is the float32 model in one web page: open it in a browser, also "
        f"offline, and give it a table of scans. Verified by {page['verified_by']}: on {page['scans']} test scans the "
        f"largest differences are {errors} test SDs, and {page['same_status']} statuses are equal. It holds the 5, 50 "
        "and 95 % quantiles of the training scans for its pictures, but no scan."
    )


def interval_text(facts: Card | None, achieved: float | None) -> str:
    """Nominal and achieved coverage of an interval, for a table."""
    if facts is None or facts["half_width"] is None or achieved is None:
        return "none"
    return f"{facts['coverage']:.0%}, achieved {achieved:.0%}"
