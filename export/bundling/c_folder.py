"""C99 sources of a run for the folder `c/` of its bundle: generated, verified, measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.budget import Budget
from export.bundling.card import Card, largest_error_sd, recipe_facts
from export.bundling.stored_run import StoredRun
from export.c.golden import GoldenScan, golden_header
from export.c.project import folder_of, project
from export.c.soil_model import SoilModel, soil_model
from export.recipes import RECIPES, Recipe
from export.verify import cortex_m, golden
from export.verify.c_source import LIMIT_MARGIN, CVerification, is_near_limit, status_exceeded, verify_c
from export.verify.verification import tolerance_exceeded
from relple_tf.errors import InputError
from relple_tf.models.deployed import T2, Q
from relple_tf.models.domain import status

BITS = {"c99": 32, "c99_int16": 16}
"""Recipe -> bits of its tables."""


@dataclass(frozen=True, kw_only=True)
class CFolder:
    """What an export with C recipes adds to a bundle."""

    files: dict[str, str]
    """Path below `c/` -> text."""
    facts: dict[str, Card]
    """Recipe -> its entry in the card."""
    verifications: dict[str, Any]
    """Recipe -> its entry in verification.json."""


def c_folder(
    trained: StoredRun,
    recipes: Sequence[Recipe],
    content: bytes,
    card: Card,
    budget: Budget,
    prefix: str,
    notify: Callable[[str], None],
) -> CFolder:
    """Generate, verify and measure the sources.

    Args:
        trained: The run.
        recipes: The C recipes; at least one.
        content: Its float32 .tflite without a card.
        card: Card of the bundle, with or without variants.
        budget: Limits of the device.
        prefix: Prefix of all names in C.
        notify: Called with progress messages.

    Raises:
        InputError: an operator has no C code, or a source exceeds its tolerance or fails on a simulated core.
    """
    models: dict[str, SoilModel] = {}
    verified: dict[str, CVerification] = {}
    for recipe in recipes:
        notify(f"{recipe.name}: generating and verifying ...")
        models[recipe.name] = soil_model(content, card, int16=recipe.weights == "int16")
        verified[recipe.name] = verify_c(trained, recipe, content, models[recipe.name])
        result = verified[recipe.name]
        if excess := tolerance_exceeded(result.verification, recipe) or status_exceeded(result):
            raise InputError(f"{excess}; leave {recipe.name} out of --recipes, or train a model with smaller weights")
    tolerance_of = {recipe.name: recipe for recipe in (*(RECIPES[name] for name in BITS), *recipes)}
    tolerances = {bits: list(golden.tolerances(trained, tolerance_of[name]).values()) for name, bits in BITS.items()}
    header = golden_header(golden_scans(trained), tolerances, LIMIT_MARGIN)
    plain = project(models, header, card, "soil")
    facts = {}
    for recipe in recipes:
        notify(f"{recipe.name}: measuring on simulated Cortex-M ...")
        folder = folder_of(recipe.name, tuple(models))
        measured = cortex_m.measure(plain, folder)
        facts[recipe.name] = model_facts(recipe, folder, models[recipe.name], verified[recipe.name], measured, budget)
    return CFolder(
        files=project(models, header, card, prefix),
        facts=facts,
        verifications={name: result.verification.as_dict() for name, result in verified.items()},
    )


def model_facts(
    recipe: Recipe, folder: str, model: SoilModel, result: CVerification, measured: Card, budget: Budget
) -> Card:
    """A source's part of the card."""
    verification = result.verification.as_dict()
    errors = largest_error_sd(verification)
    figures = verification["runtimes"]["C"]
    return {
        "folder": f"c/{folder}",
        "recipe": recipe_facts(recipe),
        "table_bytes": model.table_bytes,
        "work_bytes": 4 * model.work_floats,
        "macs": verification["macs"],
        "operators": verification["operators"],
        "verified_with": result.verified_with,
        "largest_error_sd": errors,
        "largest_distance_error": figures["largest_distance_error"],
        "test": {
            "other_status": result.other_status,
            "other_status_near_limit": result.other_status_near_limit,
            "targets": {
                target: {name: values[name] for name in ("n", "r2", "rmse")}
                for target, values in figures["targets"].items()
            },
        },
        "cortex_m": measured,
        "budget": list(
            budget.exceeded(
                flash_bytes=model.table_bytes,
                arena_bytes=4 * model.work_floats,
                largest_error=max(errors.values()),
            )
        ),
    }


def golden_scans(trained: StoredRun) -> list[GoldenScan]:
    """The golden scans of the bundle with the output of Keras."""
    scan_of = golden.cases(trained)
    outputs: dict[str, Any] = dict(trained.outputs(np.stack(list(scan_of.values()))))
    near = is_near_limit(outputs, trained.limits)
    statuses = status({name: outputs[name] for name in trained.targets}, outputs[T2], outputs[Q], trained.limits)
    return [
        GoldenScan(
            name=name,
            scan=scan,
            status=str(statuses[row]),
            is_near_limit=bool(near[row]),
            values=tuple(_finite(outputs, target, row) for target in trained.targets),
        )
        for row, (name, scan) in enumerate(scan_of.items())
    ]


def _finite(outputs: Mapping[str, Any], target: str, row: int) -> float:
    value = float(outputs[target][row])
    return value if np.isfinite(value) else 0.0
