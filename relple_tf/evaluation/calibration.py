"""The main job: split, train, score, compare with PLSR, and leave a run folder."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.config import Config
from relple_tf.evaluation.advice import advice
from relple_tf.evaluation.beside import beside
from relple_tf.evaluation.importance import band_importance
from relple_tf.evaluation.metrics import scores
from relple_tf.evaluation.outliers import outliers
from relple_tf.evaluation.prediction import estimates
from relple_tf.evaluation.report import report
from relple_tf.evaluation.result import Calibration, Metrics, card
from relple_tf.evaluation.trust import Trust, trust
from relple_tf.models import front_end
from relple_tf.models.lab_units import T2, Q
from relple_tf.spectra.folds import learning_folds
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.split import PARTS, split
from relple_tf.spectra.tables import read_parts
from relple_tf.training.files import write_text, write_with
from relple_tf.training.fit import Trained, seed_everything
from relple_tf.training.members import CrossFit, fit_all, forget, learning
from relple_tf.training.preparation import Prepared, prepare
from relple_tf.training.runs import RunFolder, data_hash, write_json

MOST_PERMUTED = 300
"""Test soils that the importance of wavelengths is measured on; more would take minutes and say the same."""


def calibrate(
    library: SpectralLibrary,
    config: Config,
    folder: RunFolder,
    *,
    say: Callable[[str], None],
    take_in: Callable[[], None],
) -> Metrics:
    """Train on `library` and fill `folder`; takes up the state that a killed run left there.

    Args:
        say: Told what was decided about the data, and what is being done.
        take_in: Imports TensorFlow, in every process that trains beside this one.

    Returns:
        The content of metrics.json.

    Raises:
        InputError: the library cannot be split as the config asks.
    """
    seed_everything(config.training.seed)
    library = front_end.in_range(library, config.front_end)
    parts, split_notes = divide(library, config)
    if config.training.members:
        parts = learning(parts)
        learning_folds(library, parts, config.training.seed, config.training.members, config.split.block_km)
    prepared = prepare(library, parts, config)
    # Said when nothing can be refused any more: a refusal is one line.
    notes = (*library.notes, *split_notes, *prepared.notes)
    for note in notes:
        say(note)
    say(
        f"{len(library)} soils x {len(library.wavelengths_nm)} bands: "
        + ", ".join(f"{np.sum(parts == part)} {part}" for part in PARTS if np.any(parts == part))
        + f"; {config.preset}: a network of {prepared.network.count_params():,} weights"
    )
    if not folder.resumed:
        folder.begin(config)
    library_sha256 = data_hash(library)
    # A changed split would turn rows that were learned from into test rows.
    fingerprint = hashlib.sha256(f"{library_sha256} {' '.join(parts.tolist())}".encode()).hexdigest()
    try:
        trained, crossed = fit_all(library, parts, prepared, config, folder.path, fingerprint, take_in=take_in)
    except KeyboardInterrupt:
        say(f"cut off; python -m relple_tf.train --out {folder.path} --resume goes on")
        raise
    say("PLSR on the same split ...")
    result = evaluate(library, library_sha256, parts, prepared, trained, crossed, config, notes)
    for note in result.notes[len(notes) :]:
        say(note)
    write_run(result, folder)
    return result.metrics


def divide(library: SpectralLibrary, config: Config) -> tuple[npt.NDArray[np.str_], tuple[str, ...]]:
    """The part of every row, by the split file, the library or a draw; and what must be said about it."""
    if not config.split.file:
        return split(library, config.split, config.training.seed)
    declared, note = read_parts(Path(config.split.file), library.ids)
    parts, notes = split(library, config.split, config.training.seed, declared)
    return parts, (note, *notes)


def evaluate(
    library: SpectralLibrary,
    library_sha256: str,
    parts: npt.NDArray[np.str_],
    prepared: Prepared,
    trained: Trained,
    crossed: CrossFit | None,
    config: Config,
    notes: tuple[str, ...],
) -> Calibration:
    """Predict all rows, fit PLSR on the same split, score both. The test part is read here and nowhere before."""
    found = trust(library, parts, prepared, crossed, config.training.seed)
    outputs = estimates(trained.model, library.spectra)
    predictions = {name: outputs[name] for name in library.targets}
    plsr = beside(library, parts, prepared, config, members=0 if crossed is None else config.training.members)
    metrics: Metrics = score_parts(library, parts, predictions)
    if crossed is not None:
        metrics["validation"] = {
            name: scores(np.where(parts == "train", values, np.nan), crossed.estimates[name])
            for name, values in library.targets.items()
        }
    metrics["baseline"] = {"plsr": score_parts(library, parts, plsr.predictions)["test"]}
    networks = {} if crossed is None else metrics["validation"]
    return Calibration(
        config=config,
        library=library,
        library_sha256=library_sha256,
        parts=parts,
        prepared=prepared,
        trained=trained,
        crossed=crossed,
        trust=found,
        predictions=predictions,
        t2=outputs[T2],
        q=outputs[Q],
        plsr=plsr,
        importance=wavelength_importance(library, parts, prepared, trained, config.training.seed),
        outliers=learning_outliers(library, parts, prepared, crossed, found),
        metrics=metrics,
        notes=(*notes, *advice(networks, plsr)),
    )


def wavelength_importance(
    library: SpectralLibrary, parts: npt.NDArray[np.str_], prepared: Prepared, trained: Trained, seed: int
) -> pd.DataFrame:
    """What blocks of wavelengths are worth on test soils, with every target on its modelled scale."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(parts == "test"))[:MOST_PERMUTED]

    def modelled(spectra: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float64]]:
        found = estimates(trained.model, spectra)
        return {scale.name: scale.to_model(found[scale.name].astype("float64")) for scale in prepared.scales}

    values = {scale.name: scale.to_model(library.targets[scale.name][rows]) for scale in prepared.scales}
    return band_importance(modelled, library.spectra[rows], library.quantity, values, library.wavelengths_nm, seed=seed)


def learning_outliers(
    library: SpectralLibrary,
    parts: npt.NDArray[np.str_],
    prepared: Prepared,
    crossed: CrossFit | None,
    found: Trust,
) -> pd.DataFrame:
    """All training soils that do not fit the others; by their spectra only where no network left soils out."""
    train = parts == "train"
    nothing = np.full(int(train.sum()), np.nan)
    return outliers(
        library.ids[train],
        found.t2[train],
        found.q[train],
        found.limits,
        prepared.scales,
        {name: values[train] for name, values in library.targets.items()},
        {name: nothing if crossed is None else crossed.estimates[name][train] for name in library.targets},
        most=len(nothing),
    )


def score_parts(
    library: SpectralLibrary,
    parts: npt.NDArray[np.str_],
    predictions: dict[str, npt.NDArray[np.float64]],
) -> Metrics:
    """Part -> target -> figures of merit, for the parts that there are."""
    return {
        part: {
            name: scores(values[parts == part], predictions[name][parts == part])
            for name, values in library.targets.items()
        }
        for part in PARTS
        if np.any(parts == part)
    }


def write_run(result: Calibration, folder: RunFolder) -> None:
    """Write every file of the run folder, the manifest last."""
    path, library = folder.path, result.library
    table = pd.DataFrame({"id": library.ids, "part": result.parts})
    write_text(path / "split.csv", table.to_csv(index=False))
    for name, values in library.targets.items():
        table[f"{name}_measured"] = values
        table[f"{name}_predicted"] = result.predictions[name]
        if result.crossed is not None:
            table[f"{name}_cross_validated"] = result.crossed.estimates[name].astype("float32")
        table[f"{name}_plsr"] = result.plsr.predictions[name].astype("float32")
    table[T2], table[Q], table["status"] = result.t2, result.q, result.status
    write_text(path / "predictions.csv", table.to_csv(index=False))
    write_text(path / "history.csv", result.trained.history.to_csv(index=False))
    write_text(path / "outliers.csv", result.outliers.to_csv(index=False, float_format="%.4g"))
    write_json(path / "metrics.json", result.metrics)
    write_json(path / "card.json", card(result))
    write_with(path / "model.keras", result.trained.model.save)
    write_text(path / "report.html", report(result))
    folder.finish()
    forget(path)
