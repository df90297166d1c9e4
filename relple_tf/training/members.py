"""Networks that each leave one fold of the learning soils out.

Their estimates of the soils left out stand for those of new soils: they give the intervals, the outliers of the
library, and the share that each head keeps of its training. The final network learns from all learning soils.
"""

from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from relple_tf.config import Config, replace
from relple_tf.errors import InputError
from relple_tf.models.lab_units import TargetScale
from relple_tf.spectra.folds import learning_folds
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.training.artefacts import readable
from relple_tf.training.checkpoint import WAY_OUT, load_state, save_state
from relple_tf.training.fit import Trained, fit, seed_everything, train
from relple_tf.training.mixing import SHARES, best_share, both, mixtures
from relple_tf.training.preparation import Prepared, prepare
from relple_tf.training.runs import CHECKPOINT
from relple_tf.training.workers import run_all

Floats = npt.NDArray[np.float64]
Parts = npt.NDArray[np.str_]


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossFit:
    """What the members say of the learning soils, each soil by the member that did not see it."""

    shares: dict[str, float]
    """Target -> the share of SHARES that the final head keeps of its training."""
    estimates: dict[str, Floats]
    """Target -> (n,) in laboratory units, NaN for rows that are not learned from."""
    history: pd.DataFrame
    """Validation scores by epoch, mean over the members."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shared:
    """What every process of a cross-fit holds."""

    library: SpectralLibrary
    parts: Parts
    fold: npt.NDArray[np.intp]
    config: Config
    folder: Path
    fingerprint: str


def learning(parts: Parts) -> Parts:
    """The parts of the final network: validation rows are learned from, for the members have validated."""
    return np.where(parts == "validation", "train", parts)


def fit_all(
    library: SpectralLibrary,
    parts: Parts,
    prepared: Prepared,
    config: Config,
    folder: Path,
    fingerprint: str = "",
    *,
    take_in: Callable[[], None],
) -> tuple[Trained, CrossFit | None]:
    """Train the members, if the config asks for any, and then the final network.

    Args:
        library: All rows.
        parts: (n,) of PARTS, validation rows counted as training rows where there are members (`learning`).
        prepared: From `prepare` on the same parts.
        folder: Keeps what is done, until `forget`.
        fingerprint: Of the library and its split.
        take_in: Imports TensorFlow, in every new process.

    Raises:
        InputError: what `folder` holds belongs to other data.
    """
    crossed = None
    if config.training.members:
        crossed = cross_fit(library, parts, config, folder, fingerprint, take_in)
        # What follows is random in the same way whether or not the members were trained in this process.
        seed_everything(config.training.seed)
    shares = None if crossed is None else crossed.shares
    return fit(prepared, config, folder / CHECKPOINT, fingerprint, shares), crossed


def cross_fit(
    library: SpectralLibrary,
    parts: Parts,
    config: Config,
    folder: Path,
    fingerprint: str,
    take_in: Callable[[], None],
) -> CrossFit:
    """Train `training.members` networks, some at a time; those that `folder` holds from before a kill are taken up.

    Args:
        parts: (n,) of PARTS; the test rows are left aside.
        folder: Gets a file for each member.
        fingerprint: Of the library and its split, kept with each member.
        take_in: Imports TensorFlow, in every new process.

    Raises:
        InputError: the learning rows cannot be divided, a member in `folder` belongs to other data, or a process died.
    """
    fold = learning_folds(library, parts, config.training.seed, config.training.members, config.split.block_km)
    members = range(fold.max() + 1)
    shared = _Shared(
        library=library,
        parts=learning(parts),
        fold=fold,
        config=config,
        folder=folder,
        fingerprint=fingerprint,
    )
    missing = [member for member in members if not _file(folder, member).exists()]
    for member in set(members) - set(missing):
        load_member(shared, member)  # other data are refused before anything is trained on them
    bar = tqdm(total=len(members), initial=len(members) - len(missing), unit="network", desc="cross-validation")
    try:
        with bar:
            workers = config.training.workers
            run_all(train_member, missing, shared, workers=workers, take_in=take_in, finished=bar.update)
    except BrokenProcessPool:
        raise InputError(
            f"{folder}: a process died, for lack of memory mostly; the networks that are done are kept, and --resume "
            "trains the others; a new run with --set training.workers=1 needs the least"
        ) from None
    states = [load_member(shared, member) for member in members]
    return collect(library, fold, states)


def forget(folder: Path) -> None:
    """Remove the members' files, when the run is complete."""
    for path in folder.glob("member-*.npz"):
        path.unlink()


def _file(folder: Path, member: int) -> Path:
    return folder / f"member-{member + 1}.npz"


def load_member(shared: _Shared, member: int) -> tuple[Any, Any]:
    """What `train_member` kept.

    Raises:
        InputError: it is damaged, or belongs to other data or to other folds.
    """
    path = _file(shared.folder, member)
    arrays, facts = load_state(path, shared.fingerprint)
    shape = (len(SHARES), int(np.sum(shared.fold == member)), len(shared.library.targets))
    with readable(path, WAY_OUT):
        if (arrays["estimates"][0].shape, arrays["estimates"][0].dtype.kind) != (shape, "f"):
            raise ValueError(f"estimates of shape {arrays['estimates'][0].shape}, expected {shape}")
        history = pd.DataFrame(facts["history"])
        if "epoch" not in history or not all(pd.api.types.is_numeric_dtype(kind) for kind in history.dtypes):
            raise ValueError("a history without epochs, or not of numbers")
    return arrays, facts


def train_member(shared: _Shared, member: int) -> None:
    """Train one network without its fold and keep its estimates of the fold, for every share of SHARES."""
    config = replace(shared.config, training__seed=(shared.config.training.seed + member) % 2**31)
    keras.backend.clear_session()
    seed_everything(config.training.seed)
    parts = np.where(shared.fold == member, "validation", shared.parts)
    prepared = prepare(shared.library, parts, config)
    history = train(prepared, config, stop_early=False, show=False, throwaway=True)
    tried = mixtures(*both(prepared.network, prepared.machines, prepared.validation_features))
    save_state(
        _file(shared.folder, member),
        {"estimates": [to_lab(prepared.scales, tried)]},
        {"fingerprint": shared.fingerprint, "history": history.to_dict("list")},
    )


def to_lab(scales: tuple[TargetScale, ...], values: Floats) -> Floats:
    """(..., K) standard deviations to laboratory units."""
    return np.stack([scale.to_lab(values[..., column]) for column, scale in enumerate(scales)], axis=-1)


def collect(
    library: SpectralLibrary,
    fold: npt.NDArray[np.intp],
    states: list[tuple[Any, Any]],
) -> CrossFit:
    """Put the members' estimates together and choose each head's share."""
    tried = np.full((len(SHARES), len(library), len(library.targets)), np.nan)
    for member, (arrays, _) in enumerate(states):
        tried[:, fold == member] = arrays["estimates"][0]
    shares, estimates = {}, {}
    for column, (target, values) in enumerate(library.targets.items()):
        best = best_share(np.where(fold >= 0, values, np.nan), tried[:, :, column])
        shares[target], estimates[target] = SHARES[best], tried[best, :, column]
    histories = pd.concat([pd.DataFrame(facts["history"]) for _, facts in states])
    return CrossFit(shares=shares, estimates=estimates, history=histories.groupby("epoch", as_index=False).mean())
