"""card.json of a run and of a bundle: rules for the entries that the programs read, checked before they are read.

The ranges are wider than any soil, sensor or model needs, so they refuse impossible values only. A plausible but wrong
value passes the check if the hash in the manifest was computed again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from relple_tf.artefacts.reading import parse_json
from relple_tf.artefacts.schema import (
    ASCENDING_NM,
    FLAG,
    NAME,
    OBJECT,
    SHA256,
    TARGET,
    TEXT,
    check,
    integer,
    items,
    matching,
    named,
    number,
    one_of,
    or_missing,
    or_null,
)
from relple_tf.config import ARCHITECTURES, CHANNELS
from relple_tf.errors import InputError
from relple_tf.runs.folder import REMEDY as RUN_REMEDY
from relple_tf.spectra.range_ends import end_tolerance_nm

Card = dict[str, Any]

CARD = "card.json"
BUNDLE_REMEDY = "copy the bundle again or export the run again"
BUNDLE_FORMAT = 2
"""Format of bundles; `export/runtime/soil_scan.py` reads the same format."""

LARGEST_VALUE = 1e9
"""Largest magnitude of a target, in any unit."""
LARGEST_STATISTIC = 1e12
"""Largest limit of the domain statistics T2 and Q."""
LARGEST_END_TOLERANCE_NM = 1000.0
"""Largest distance by which bands may miss an end of the model's wavelengths."""
MAX_WEIGHTS = 1 << 28
"""Largest number of weights of a model: 1 GiB as float32."""

PREDICTION_RULES = {
    "": OBJECT,
    "simulated": FLAG,
    "input": OBJECT,
    "input.quantity": one_of("reflectance", "absorbance"),
    "input.wavelengths_nm": ASCENDING_NM,
    # Runs and bundles of version 0.2.0 lack it: `input_end_tolerance_nm`.
    "input.end_tolerance_nm": or_missing(items(2, 2)),
    "input.end_tolerance_nm.*": number(0, LARGEST_END_TOLERANCE_NM),
    "targets": named(TARGET),
    "targets.*": OBJECT,
    "targets.*.interval": or_null(OBJECT),
    "targets.*.interval.target": TARGET,
    "targets.*.interval.coverage": number(0, 1),
    "targets.*.interval.half_width": or_null(number(0, LARGEST_VALUE)),
    "targets.*.interval.growth": number(0, 1000),
    "targets.*.interval.root": FLAG,
    "targets.*.interval.non_negative": FLAG,
    "targets.*.interval.n": integer(0, 1 << 40),
    # Runs and bundles of version 0.2.0 lack it; null for a target without interval.
    "targets.*.need_curve": or_missing(or_null(items(0, 100))),
    "targets.*.need_curve.*": OBJECT,
    "targets.*.need_curve.*.need": number(0, LARGEST_VALUE),
    "targets.*.need_curve.*.kept": number(0, 1),
    "targets.*.need_curve.*.n": integer(0, 1 << 40),
    "targets.*.need_curve.*.rmse": or_null(number(0, LARGEST_VALUE)),
    "targets.*.need_curve.*.beyond": or_null(number(0, 1)),
    "domain": OBJECT,
    "domain.limits": OBJECT,
    "domain.limits.T2": number(1e-9, LARGEST_STATISTIC),
    "domain.limits.Q": number(0, LARGEST_STATISTIC),
    "domain.share_within": number(0, 1),
    "front_end": OBJECT,
    "front_end.grid_nm": ASCENDING_NM,
}
"""Entries that prediction reads from the card of a run or bundle: path -> rule, as in `artefacts.schema`."""

RUN_RULES = PREDICTION_RULES | {
    "source": TEXT,
    "data_sha256": SHA256,
    "soils": OBJECT,
    "soils.train": integer(1, 1 << 40),
    "soils.validation": integer(0, 1 << 40),
    "soils.test": integer(0, 1 << 40),
    "samples": or_missing(OBJECT),
    "samples.*": integer(0, 1 << 40),
    "targets.*.unit": TEXT,
    "targets.*.root": FLAG,
    "targets.*.lowest": number(-LARGEST_VALUE, LARGEST_VALUE),
    "targets.*.highest": number(-LARGEST_VALUE, LARGEST_VALUE),
    "front_end.channels": items(1, len(CHANNELS)),
    "front_end.channels.*": one_of(*CHANNELS),
    "front_end.views": items(1, 100),
    "front_end.views.*": items(1, len(CHANNELS)),
    "front_end.views.*.*": one_of(*CHANNELS),
    "front_end.whitened_components": integer(1, 10_000),
    "model": OBJECT,
    "model.preset": TEXT,
    "model.architecture": one_of(*ARCHITECTURES),
    "model.weights": integer(1, MAX_WEIGHTS),
    "model.stacking_weights": named(TARGET),
    "model.stacking_weights.*": number(0, 1),
    # Runs of version 0.2.0 lack it. The kernel regression of the network's views has the rest.
    "model.robust_weights": or_missing(named(TARGET)),
    "model.robust_weights.*": number(0, 1),
    "relevance": OBJECT,
    "relevance.correlation": items(1, 1000),
    "relevance.correlation.*": items(1, 1000),
    "relevance.correlation.*.*": number(-1.001, 1.001),
    "seed": integer(0, 1 << 31),
    "notes": items(0, 1000),
    "notes.*": TEXT,
    "warnings": or_missing(items(0, 1000)),
    "dropped": or_missing(items(0, 1 << 20)),
    "versions": OBJECT,
    "versions.*": TEXT,
}
"""Entries that prediction and export read from the card of a run."""

BUNDLE_RULES = PREDICTION_RULES | {
    "id_column": or_missing(TEXT),
    "variants": named(NAME),
    "variants.*": OBJECT,
    "variants.*.file": NAME,
    # Version 0.2.0 also made variants that read features.
    "variants.*.reads": matching("scan", "scan"),
    "variants.*.bytes": or_missing(integer(1, 1 << 30)),
    "default_variant": NAME,
}
"""Entries that prediction reads from the card of a bundle."""


def input_end_tolerance_nm(card: Mapping[str, Any]) -> tuple[float, float]:
    """Read by how much the bands of a scan may miss the ends of the model's wavelengths, in nm.

    The cards of version 0.2.0 do not state it; it is computed as training computes it.

    Args:
        card: Card of a run or bundle, checked.
    """
    if stated := card["input"].get("end_tolerance_nm"):
        low, high = stated
        return low, high
    return end_tolerance_nm(np.array(card["input"]["wavelengths_nm"]), np.array(card["front_end"]["grid_nm"]))


def run_card(content: bytes, path: Path) -> Card:
    """Parse and check the card of a run.

    Args:
        content: Content of the file.
        path: Path of the file, for messages.

    Raises:
        InputError: the file is not JSON, or an entry is missing or invalid.
    """
    card: Card = parse_json(content, path, RUN_REMEDY)
    check(card, RUN_RULES, path, RUN_REMEDY)
    targets, correlation = list(card["targets"]), card["relevance"]["correlation"]
    if {len(row) for row in [correlation, *correlation]} != {len(targets)}:
        raise InputError(f"{path}: relevance.correlation: expected a row and column for each target; {RUN_REMEDY}")
    if list(card["model"]["stacking_weights"]) != targets:
        raise InputError(f"{path}: model.stacking_weights: expected a weight for each target; {RUN_REMEDY}")
    if not {channel for view in card["front_end"]["views"] for channel in view} <= {*card["front_end"]["channels"]}:
        raise InputError(f"{path}: front_end.views: expected channels of front_end.channels; {RUN_REMEDY}")
    return card


def bundle_card(content: bytes, path: Path) -> Card:
    """Parse and check the card of a bundle.

    Args:
        content: Content of the file.
        path: Path of the file, for messages.

    Raises:
        InputError: the file is not JSON, has another format, or an entry is missing or invalid.
    """
    card: Card = parse_json(content, path, BUNDLE_REMEDY)
    check(card, {"": OBJECT}, path, BUNDLE_REMEDY)
    if card.get("format") != BUNDLE_FORMAT:
        received = card.get("format") if isinstance(card.get("format"), int | str) else "none"
        raise InputError(
            f"{path.parent}: {CARD}: expected format {BUNDLE_FORMAT}, received {received}; export the run again"
        )
    check(card, BUNDLE_RULES, path, BUNDLE_REMEDY)
    if card["default_variant"] not in card["variants"]:
        raise InputError(f"{path}: default_variant: expected one of the variants; {BUNDLE_REMEDY}")
    return card
