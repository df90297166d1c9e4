"""card.json of a run and of a bundle: what is read of it, and the check before anything is.

The ranges are wider than any soil, sensor or model needs. They keep out what is no such number; a plausible number in
the place of another passes, as in any file whose hash was made anew.
"""

from pathlib import Path
from typing import Any

from relple_tf.artefacts.reading import parsed
from relple_tf.artefacts.schema import (
    ASCENDING_NM,
    FLAG,
    NAME,
    OBJECT,
    SHA256,
    TARGET,
    TEXT,
    check,
    items,
    named,
    number,
    one_of,
    or_missing,
    or_null,
    whole,
)
from relple_tf.config import ARCHITECTURES, CHANNELS
from relple_tf.errors import InputError
from relple_tf.runs.folder import WAY_OUT as RUN_WAY_OUT

Card = dict[str, Any]

CARD = "card.json"
BUNDLE_WAY_OUT = "copy the bundle again or export the run again"
BUNDLE_FORMAT = 2
"""`export/runtime/soil_scan.py` reads the same."""

LARGEST_VALUE = 1e9
"""Of a target, in any unit."""
LARGEST_DISTANCE = 1e12
MOST_WEIGHTS = 1 << 28
"""Of a model, 1 GiB as float32."""

PREDICTION = {
    "": OBJECT,
    "simulated": FLAG,
    "input": OBJECT,
    "input.quantity": one_of("reflectance", "absorbance"),
    "input.wavelengths_nm": ASCENDING_NM,
    "targets": named(TARGET),
    "targets.*": OBJECT,
    "targets.*.interval": or_null(OBJECT),
    "targets.*.interval.target": TARGET,
    "targets.*.interval.coverage": number(0, 1),
    "targets.*.interval.half_width": or_null(number(0, LARGEST_VALUE)),
    "targets.*.interval.growth": number(0, 1000),
    "targets.*.interval.root": FLAG,
    "targets.*.interval.non_negative": FLAG,
    "targets.*.interval.n": whole(0, 1 << 40),
    "domain": OBJECT,
    "domain.limits": OBJECT,
    "domain.limits.T2": number(1e-9, LARGEST_DISTANCE),
    "domain.limits.Q": number(0, LARGEST_DISTANCE),
    "domain.share_within": number(0, 1),
    "front_end": OBJECT,
    "front_end.grid_nm": ASCENDING_NM,
}
"""What prediction reads of either card: place -> rule, as `training.schema` defines both."""

RUN = PREDICTION | {
    "source": TEXT,
    "data_sha256": SHA256,
    "soils": OBJECT,
    "soils.train": whole(1, 1 << 40),
    "soils.validation": whole(0, 1 << 40),
    "soils.test": whole(0, 1 << 40),
    "targets.*.unit": TEXT,
    "targets.*.root": FLAG,
    "targets.*.lowest": number(-LARGEST_VALUE, LARGEST_VALUE),
    "targets.*.highest": number(-LARGEST_VALUE, LARGEST_VALUE),
    "front_end.channels": items(1, len(CHANNELS)),
    "front_end.channels.*": one_of(*CHANNELS),
    "front_end.views": items(1, 100),
    "front_end.views.*": items(1, len(CHANNELS)),
    "front_end.views.*.*": one_of(*CHANNELS),
    "front_end.whitened_components": whole(1, 10_000),
    "model": OBJECT,
    "model.preset": TEXT,
    "model.architecture": one_of(*ARCHITECTURES),
    "model.weights": whole(1, MOST_WEIGHTS),
    "model.trained_shares": named(TARGET),
    "model.trained_shares.*": number(0, 1),
    "relevance": OBJECT,
    "relevance.correlation": items(1, 1000),
    "relevance.correlation.*": items(1, 1000),
    "relevance.correlation.*.*": number(-1.001, 1.001),
    "seed": whole(0, 1 << 31),
    "notes": items(0, 1000),
    "notes.*": TEXT,
    "versions": OBJECT,
    "versions.*": TEXT,
}
"""What prediction and export read of a run's card."""

BUNDLE = PREDICTION | {
    "id_column": or_missing(TEXT),
    "variants": named(NAME),
    "variants.*": OBJECT,
    "variants.*.file": NAME,
    "variants.*.reads": one_of("scan", "features_int8"),
    "variants.*.bytes": or_missing(whole(1, 1 << 30)),
    "default_variant": NAME,
}
"""What prediction reads of a bundle's card."""


def run_card(content: bytes, path: Path) -> Card:
    """The card of a run.

    Args:
        content: Of the file.
        path: Its path, for messages.

    Raises:
        InputError: it is damaged: no JSON, or something is missing or wrong.
    """
    card: Card = parsed(content, path, RUN_WAY_OUT)
    check(card, RUN, path, RUN_WAY_OUT)
    targets, correlation = list(card["targets"]), card["relevance"]["correlation"]
    if {len(row) for row in [correlation, *correlation]} != {len(targets)}:
        raise InputError(f"{path}: relevance.correlation: expected a row and column for each target; {RUN_WAY_OUT}")
    if list(card["model"]["stacking_weights"]) != targets:
        raise InputError(f"{path}: model.trained_shares: expected one for each target; {RUN_WAY_OUT}")
    if not {channel for view in card["front_end"]["views"] for channel in view} <= {*card["front_end"]["channels"]}:
        raise InputError(f"{path}: front_end.views: expected channels of front_end.channels; {RUN_WAY_OUT}")
    return card


def bundle_card(content: bytes, path: Path) -> Card:
    """The card of a bundle; arguments and errors as for `run_card`, and another format is refused."""
    card: Card = parsed(content, path, BUNDLE_WAY_OUT)
    check(card, {"": OBJECT}, path, BUNDLE_WAY_OUT)
    if card.get("format") != BUNDLE_FORMAT:
        given = card.get("format") if isinstance(card.get("format"), int | str) else "none"
        raise InputError(f"{path.parent}: {CARD} has format {given}, not {BUNDLE_FORMAT}; export the run again")
    check(card, BUNDLE, path, BUNDLE_WAY_OUT)
    if card["default_variant"] not in card["variants"]:
        raise InputError(f"{path}: default_variant: expected one of the variants; {BUNDLE_WAY_OUT}")
    return card
