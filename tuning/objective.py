"""The objective of a search: the cross-validated R2 of a config.

For every inner fold of the development set a network is trained on the other folds for all its epochs and predicts
the fold; it is stacked with its kernel regression as in a run (`training.cross_fitting`). The score is R2 of these
out-of-fold predictions on the modelled scale, mean over the targets and over `TrialRules.repeats` draws of the folds.
The modelled scale (square root or not, mean, standard deviation) is that of trial 0 for all trials, so that scores can
be compared. The library of a trial does not contain the test part.
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
class DevelopmentSet:
    """Data of all trials; sent to each worker once."""

    library: SpectralLibrary
    """The development rows, without a declared split."""
    scales: tuple[TargetScale, ...]
    """Modelled scale of each target."""
    rules: TrialRules
    """Number of folds and repeats."""
    block_km: float
    """Edge of the blocks of land that the inner folds do not divide, km; 0: no blocks."""
    traces: TraceCache = field(default_factory=TraceCache)
    """Traced training steps, shared by the trials of a process."""


def development_set(
    library: SpectralLibrary, config: Config, rules: TrialRules
) -> tuple[DevelopmentSet, NetworkSpec, tuple[str, ...]]:
    """Split as `relple_tf.train` does, drop the test part, and fit the modelled scales on the development rows.

    Args:
        library: All rows.
        config: Config of trial 0.
        rules: Rules of the search.

    Returns:
        Data of all trials; specification of the network of trial 0; notes on the decisions.

    Raises:
        InputError: the library cannot be split as the config asks, or its development rows into the folds.
    """
    library = front_end.in_range(library, config.front_end)
    parts, notes = divide(library, config)
    parts = development(parts)
    block_km = config.split.block_km
    # Inner folds keep whole the groups and blocks that the split keeps whole. Whether it does is visible only here,
    # before the test rows are dropped.
    divided = group_divided(library, parts)
    block_km = 0.0 if block_divided(library, parts, block_km) else block_km
    kept = library.rows(parts == "train")
    kept = dataclasses.replace(kept, parts=None, groups=None if divided else kept.groups)
    all_train = np.full(len(kept), "train")
    for repeat in range(rules.repeats):
        development_folds(kept, all_train, repeat_seed(config, repeat), rules.folds, block_km)
    prepared = prepare(kept, all_train, replace(config, split__block_km=block_km))
    data = DevelopmentSet(library=kept, scales=prepared.scales, rules=rules, block_km=block_km)
    doubts = (f"warning: {doubt}" for doubt in library.doubts)
    return data, prepared.spec, (*library.notes, *doubts, *notes, *prepared.notes)


def repeat_seed(config: Config, repeat: int) -> int:
    """Seed of the folds and networks of a repeat; equal for all trials, so that trials differ in the config only."""
    return (config.training.seed + 1000 * repeat) % 2**31


def score(data: DevelopmentSet, config: Config) -> dict[str, float]:
    """R2 of the out-of-fold predictions of each target, mean over the repeats.

    Raises:
        DivergedError: a prediction is not finite.
    """
    tf.get_logger().setLevel("ERROR")  # it warns that every trial traces new graphs
    repeats = [_repeat(data, config, repeat_seed(config, repeat)) for repeat in range(data.rules.repeats)]
    return {target: float(np.mean([r2[target] for r2 in repeats])) for target in repeats[0]}


def _repeat(data: DevelopmentSet, config: Config, seed: int) -> dict[str, float]:
    library = data.library
    config = replace(
        config,
        split__block_km=data.block_km,
        training__cv_folds=data.rules.folds,
        training__seed=seed,
        training__workers=1,
    )
    all_train = np.full(len(library), "train", dtype="U10")
    predictions = cross_fit(library, all_train, config, data.scales, show=False, traces=data.traces).predictions
    r2 = {}
    for scale in data.scales:
        values = library.targets[scale.name]
        measured = ~np.isnan(values)
        modelled = (scale.to_model(lab[measured]) for lab in (values, predictions[scale.name]))
        r2[scale.name] = float(r2_score(*modelled))
    return r2
