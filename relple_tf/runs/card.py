"""The card of a run, card.json: what someone who holds only the model must know about it."""

from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from relple_tf import __version__
from relple_tf.evaluation.formatting import unit
from relple_tf.evaluation.result import RunResult
from relple_tf.models.deployed import T2, Q
from relple_tf.models.relevance import relevant_targets
from relple_tf.spectra.splitting.split import PARTS
from relple_tf.training.intervals import achieved_coverage


def card(result: RunResult) -> dict[str, Any]:
    """What someone who holds only the model must know about it."""
    library, spec, config = result.library, result.fitted.prepared.spec, result.config
    return {
        "source": library.source,
        "simulated": library.source == "simulated",
        "data_sha256": result.library_sha256,
        "soils": {part: int(np.sum(result.parts == part)) for part in PARTS},
        "input": {
            "quantity": library.quantity,
            "wavelengths_nm": library.wavelengths_nm.tolist(),
        },
        "targets": {
            scale.name: {
                "unit": unit(scale.name),
                "root": scale.root,
                "lowest": float(scale.to_lab(np.array(scale.low))),
                "highest": float(scale.to_lab(np.array(scale.high))),
                "interval": interval_facts(result, scale.name),
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
            "stacking_weights": result.fitted.weights,
        },
        "relevance": {
            "correlation": spec.correlation.tolist(),
            "reads": relevant_targets(spec.correlation, spec.targets, config.model)
            if config.model.architecture == "rs_ple"
            else {target: {} for target in spec.targets},
        },
        "seed": config.training.seed,
        "notes": list(result.notes),
        "versions": versions(("keras", "tensorflow", "numpy", "scikit-learn")),
    }


def versions(names: Iterable[str]) -> dict[str, str]:
    """Package -> version: ours, then those of `names`, as they are installed."""
    return {"relple_tf": __version__, **{name: version(name) for name in names}}


def interval_facts(result: RunResult, target: str) -> dict[str, Any] | None:
    """What a device needs to show an interval, and what it did on the test soils; None where there is none."""
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
    """Half of the median width of a target's intervals on the measured test soils, in the target's unit."""
    ends = result.bounds(target)
    if ends is None:
        return {"typical_half_width": None}
    widths = (ends[1] - ends[0])[(result.parts == "test") & np.isfinite(result.library.targets[target])]
    known = widths[~np.isnan(widths)]
    return {"typical_half_width": float(np.median(known)) / 2 if len(known) else None}
