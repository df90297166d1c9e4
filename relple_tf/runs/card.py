"""card.json of a run: input, units, intervals, domain limits and origin, for a user who has only the model."""

from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from relple_tf import __version__
from relple_tf.evaluation.formatting import unit
from relple_tf.evaluation.need_curve import need_curve
from relple_tf.evaluation.result import RunResult
from relple_tf.models.deployed import T2, Q
from relple_tf.models.relevance import relevant_targets
from relple_tf.spectra.range_ends import end_tolerance_nm
from relple_tf.spectra.splitting.split import PARTS
from relple_tf.training.intervals import achieved_coverage


def card(result: RunResult) -> dict[str, Any]:
    """Return the content of card.json; `card_schema.RUN_RULES` are its rules."""
    library, spec, config = result.library, result.fitted.prepared.spec, result.config
    return {
        "source": library.source,
        "simulated": library.source == "simulated",
        "data_sha256": result.library_sha256,
        "soils": {part: int(np.sum(result.parts == part)) for part in PARTS},
        **sample_counts(result),
        "input": {
            "quantity": library.quantity,
            "wavelengths_nm": library.wavelengths_nm.tolist(),
            "end_tolerance_nm": list(end_tolerance_nm(library.wavelengths_nm, result.fitted.prepared.grid_nm)),
        },
        "targets": {
            scale.name: {
                "unit": unit(scale.name),
                "root": scale.root,
                "lowest": float(scale.to_lab(np.array(scale.low))),
                "highest": float(scale.to_lab(np.array(scale.high))),
                "interval": interval_entry(result, scale.name),
                "need_curve": need_curve(result, scale.name),
                "test": result.metrics["test"][scale.name],
            }
            for scale in result.fitted.prepared.scales
        },
        "domain": {
            "outputs": [T2, Q],
            "limits": {T2: result.fitted.reliability.limits.t2, Q: result.fitted.reliability.limits.q},
            "share_within": result.fitted.reliability.limits.share,
            "test_share_outside": result.outside,
        },
        "front_end": {
            "grid_nm": result.fitted.prepared.grid_nm.tolist(),
            "channels": list(config.front_end.channels),
            "views": [[config.front_end.channels[channel] for channel in view] for view in spec.views],
            "whitened_components": spec.components,
        },
        "model": {
            "preset": config.preset,
            "architecture": config.model.architecture,
            "weights": int(result.fitted.model.count_params()),
            "stacking_weights": {target: weights.network for target, weights in result.fitted.weights.items()},
            "robust_weights": {target: weights.robust_regression for target, weights in result.fitted.weights.items()},
        },
        "relevance": {
            "correlation": spec.correlation.tolist(),
            "reads": relevant_targets(spec.correlation, spec.targets, config.model)
            if config.model.architecture == "rs_ple"
            else {target: {} for target in spec.targets},
        },
        "seed": config.training.seed,
        "notes": list(result.notes),
        "warnings": list(library.warnings),
        "dropped": [{"id": name, "part": part, "reason": reason} for name, part, reason in library.dropped],
        "versions": versions(("keras", "tensorflow", "numpy", "scikit-learn")),
    }


def sample_counts(result: RunResult) -> dict[str, Any]:
    """Entry `samples`: number of samples in each part; without it, `soils` are samples and not scans of samples."""
    labels = result.library.sample_labels
    if len(np.unique(labels)) == len(labels):
        return {}
    return {"samples": {part: len(np.unique(labels[result.parts == part])) for part in PARTS}}


def versions(names: Iterable[str]) -> dict[str, str]:
    """Package -> installed version, of relple_tf and of `names`."""
    return {"relple_tf": __version__, **{name: version(name) for name in names}}


def interval_entry(result: RunResult, target: str) -> dict[str, Any] | None:
    """Parameters of a target's prediction interval, and its coverage on the test soils; None without an interval."""
    interval = result.fitted.reliability.intervals.get(target)
    if interval is None:
        return None
    test = result.parts == "test"
    achieved = achieved_coverage(
        interval,
        result.library.targets[target][test],
        result.predictions[target][test],
        result.fitted.reliability.limits.difficulty(result.t2[test]),
    )
    return asdict(interval) | {"test": achieved | typical_half_width(result, target)}


def typical_half_width(result: RunResult, target: str) -> dict[str, float | None]:
    """Half of the median interval width on the test soils with a laboratory value, in the target's unit."""
    bounds = result.bounds(target)
    if bounds is None:
        return {"typical_half_width": None}
    low, high = bounds
    widths = (high - low)[(result.parts == "test") & np.isfinite(result.library.targets[target])]
    widths = widths[~np.isnan(widths)]
    return {"typical_half_width": float(np.median(widths)) / 2 if len(widths) else None}
