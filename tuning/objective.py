"""The objective: how well a config predicts soils that its networks have not seen, as one number.

For every inner fold of the development set a network is trained on the other folds, to its end, and predicts the fold;
it is stacked with its kernel regression as in a run (`training.cross_fitting`). The score is R2 of these predictions on
the modelled scale, mean over the targets and over `TrialRules.repeats` draws of the folds. That scale (root or not,
with what mean and standard deviation) is that of trial 0 for all trials, so that scores can be compared; the test part
is not in the library that a trial is given.
"""

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from sklearn.metrics import r2_score

from relple_tf.config import Config, replace
from relple_tf.models import front_end
from relple_tf.models.network_spec import NetworkSpec
from relple_tf.models.target_scaling import TargetScale
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.folds import development_folds
from relple_tf.spectra.splitting.grouping import block_divided, group_divided
from relple_tf.spectra.splitting.parts import divide
from relple_tf.training.cross_fitting import cross_fit, development
from relple_tf.training.loop import TraceCache
from relple_tf.training.preparation import prepare
from tuning.space import TrialRules

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Soils:
    """What all trials learn from; sent to each worker once."""

    library: SpectralLibrary
    """The learning rows; no test row, no declared split."""
    scales: tuple[TargetScale, ...]
    """The modelled scale of each target."""
    rules: TrialRules
    """Folds and repeats."""
    block_km: float
    """Edge of the blocks that inner folds leave whole; 0: none."""
    traces: TraceCache = field(default_factory=TraceCache)
    """Traced steps of the trials of a process."""


def development_set(
    library: SpectralLibrary, config: Config, rules: TrialRules
) -> tuple[Soils, NetworkSpec, tuple[str, ...]]:
    """Split as `relple_tf.train` does, leave the test part behind, and fit the modelled scales on the rest.

    Args:
        library: All rows.
        config: Of trial 0.
        rules: Of the search.

    Returns:
        What trials learn from; what the data decide about the network of trial 0; what was decided on the way.

    Raises:
        InputError: the library cannot be split as the config asks, or its learning rows not into the folds.
    """
    library = front_end.in_range(library, config.front_end)
    parts, notes = divide(library, config)
    parts = development(parts)
    block_km = config.split.block_km
    # Inner folds leave whole what the split leaves whole, and must be told so once the test rows are gone.
    divided = group_divided(library, parts)
    block_km = 0.0 if block_divided(library, parts, block_km) else block_km
    kept = library.rows(parts == "train")
    kept = dataclasses.replace(kept, parts=None, groups=None if divided else kept.groups)
    everything = np.full(len(kept), "train")
    for repeat in range(rules.repeats):
        development_folds(kept, everything, repeat_seed(config, repeat), rules.folds, block_km)
    prepared = prepare(kept, everything, replace(config, split__block_km=block_km))
    soils = Soils(library=kept, scales=prepared.scales, rules=rules, block_km=block_km)
    return soils, prepared.spec, (*library.notes, *notes, *prepared.notes)


def repeat_seed(config: Config, repeat: int) -> int:
    """Seed of the folds and networks of a repeat; the same for all trials, so that they differ in the config only."""
    return (config.training.seed + 1000 * repeat) % 2**31


def score(soils: Soils, config: Config) -> dict[str, float]:
    """R2 of each target, mean over the repeats, by networks that have not seen the soils.

    Raises:
        DivergedError: an estimate is not finite.
    """
    tf.get_logger().setLevel("ERROR")  # it warns of the graphs that every trial has anew
    repeats = [_repeat(soils, config, repeat_seed(config, repeat)) for repeat in range(soils.rules.repeats)]
    return {target: float(np.mean([one[target] for one in repeats])) for target in repeats[0]}


def _repeat(soils: Soils, config: Config, seed: int) -> dict[str, float]:
    library = soils.library
    config = replace(
        config,
        split__block_km=soils.block_km,
        training__cv_folds=soils.rules.folds,
        training__seed=seed,
        training__workers=1,
    )
    everything = np.full(len(library), "train", dtype="U10")
    predictions = cross_fit(library, everything, config, show=False, traces=soils.traces).predictions
    r2 = {}
    for scale in soils.scales:
        values = library.targets[scale.name]
        known = ~np.isnan(values)
        modelled = (scale.to_model(one[known]) for one in (values, predictions[scale.name]))
        r2[scale.name] = float(r2_score(*modelled))
    return r2
