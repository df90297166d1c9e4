"""A training run: split, fit, evaluate, compare with PLSR, and write the run folder."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from relple_tf.atomic_files import write_table, write_text, write_with
from relple_tf.baselines.plsr_baseline import plsr_baseline
from relple_tf.config import Config
from relple_tf.evaluation.importance import band_importance
from relple_tf.evaluation.metrics import scores
from relple_tf.evaluation.outliers import outliers
from relple_tf.evaluation.recommendations import recommendations
from relple_tf.evaluation.result import Metrics, RunResult
from relple_tf.models import front_end
from relple_tf.models.deployed import T2, Q
from relple_tf.pipeline import FittedModel, fit_model
from relple_tf.prediction.runs import estimates
from relple_tf.report.page import report
from relple_tf.runs.card import card
from relple_tf.runs.folder import RunFolder, data_hash, write_json
from relple_tf.runs.saved_model import save_model
from relple_tf.runs.stored_data import DATA, save_data
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.parts import divide
from relple_tf.spectra.splitting.split import PARTS, divided_samples_note
from relple_tf.training.checkpoint import Checkpoints
from relple_tf.training.cross_fitting import development
from relple_tf.training.preparation import Prepared

MAX_PERMUTED = 300
"""Largest number of test soils for the importance of wavelengths; more take minutes and change little."""


def train_run(library: SpectralLibrary, config: Config, folder: RunFolder, *, notify: Callable[[str], None]) -> Metrics:
    """Train on `library` and write `folder`; continues from the checkpoints of an interrupted run.

    Args:
        library: Spectra and laboratory values.
        config: Config of the run.
        folder: Run folder, locked.
        notify: Prints a line to the user: decisions about the data, and progress.

    Returns:
        The content of metrics.json.

    Raises:
        InputError: the library cannot be split as the config requires.
    """
    library = front_end.in_range(library, config.front_end)
    parts, split_notes = divide(library, config)
    library_sha256 = data_hash(library)
    library = replace(library, warnings=(*library.warnings, *divided_samples_note(library, parts)))
    notes = tuple(note for note in (*library.notes, *split_notes) if note not in library.warnings)

    def begin(prepared: Prepared) -> None:
        # Printed after the last check of the input, so that a refusal is a single line.
        for note in (*notes, *prepared.notes):
            notify(note)
        for warning in library.doubts:
            notify(f"warning: {warning}")
        rows = development(parts) if config.training.cv_folds else parts
        counts = {part: int(np.sum(rows == part)) for part in PARTS}
        notify(
            f"{library.size} x {len(library.wavelengths_nm)} bands: "
            + ", ".join(f"{count} {part}" for part, count in counts.items() if count)
            + f"; {config.preset}"
        )
        if not folder.resumed:
            folder.begin(config)

    # With another split, training rows of the interrupted run could become test rows.
    fingerprint = hashlib.sha256(f"{library_sha256} {' '.join(parts.tolist())}".encode()).hexdigest()
    checkpoints = Checkpoints(folder=folder.path, fingerprint=fingerprint)
    fitted = fit_model(library, parts, config, checkpoints=checkpoints, before_training=begin)
    notify("PLSR on the same split ...")
    result = evaluate(library, library_sha256, fitted, notes)
    for note in result.notes[len(notes) + len(fitted.prepared.notes) :]:
        notify(note)
    write_run(result, folder)
    return result.metrics


def evaluate(library: SpectralLibrary, library_sha256: str, fitted: FittedModel, notes: tuple[str, ...]) -> RunResult:
    """Predict all rows, fit PLSR on the same split, compute the metrics of both. Only here is the test part read."""
    with threadpool_limits(limits=1, user_api="blas"):
        return _evaluate(library, library_sha256, fitted, notes)


def _evaluate(library: SpectralLibrary, library_sha256: str, fitted: FittedModel, notes: tuple[str, ...]) -> RunResult:
    parts, cross_fit = fitted.parts, fitted.cross_fit
    outputs = estimates(fitted.model, library.spectra)
    predictions = {name: outputs[name] for name in library.targets}
    plsr = plsr_baseline(library, parts, fitted.prepared, fitted.config)
    metrics: Metrics = score_parts(library, parts, predictions)
    if cross_fit is not None:
        metrics["validation"] = {
            name: scores(np.where(parts == "train", values, np.nan), cross_fit.predictions[name])
            for name, values in library.targets.items()
        }
    metrics["baseline"] = {"plsr": score_parts(library, parts, plsr.predictions)["test"]}
    cross_validated = {} if cross_fit is None else metrics["validation"]
    return RunResult(
        config=fitted.config,
        library=library,
        library_sha256=library_sha256,
        fitted=fitted,
        predictions=predictions,
        t2=outputs[T2],
        q=outputs[Q],
        plsr=plsr,
        importance=wavelength_importance(library, fitted),
        outliers=development_outliers(library, fitted),
        metrics=metrics,
        notes=(*notes, *fitted.prepared.notes, *recommendations(cross_validated, plsr)),
    )


def wavelength_importance(library: SpectralLibrary, fitted: FittedModel) -> pd.DataFrame:
    """Increase of the error on test soils when blocks of wavelengths are permuted; targets on the modelled scale."""
    seed, scales = fitted.config.training.seed, fitted.prepared.scales
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(fitted.parts == "test"))[:MAX_PERMUTED]

    def modelled(spectra: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float64]]:
        outputs = estimates(fitted.model, spectra)
        return {scale.name: scale.to_model(outputs[scale.name].astype("float64")) for scale in scales}

    values = {scale.name: scale.to_model(library.targets[scale.name][rows]) for scale in scales}
    return band_importance(modelled, library.spectra[rows], library.quantity, values, library.wavelengths_nm, seed=seed)


def development_outliers(library: SpectralLibrary, fitted: FittedModel) -> pd.DataFrame:
    """Outliers among the training soils; without out-of-fold predictions, by the spectrum only."""
    train, reliability, cross_fit = fitted.parts == "train", fitted.reliability, fitted.cross_fit
    unpredicted = np.full(int(train.sum()), np.nan)
    return outliers(
        library.ids[train],
        reliability.t2[train],
        reliability.q[train],
        reliability.limits,
        fitted.prepared.scales,
        {name: values[train] for name, values in library.targets.items()},
        {name: unpredicted if cross_fit is None else cross_fit.predictions[name][train] for name in library.targets},
        most=len(unpredicted),
    )


def score_parts(
    library: SpectralLibrary,
    parts: npt.NDArray[np.str_],
    predictions: dict[str, npt.NDArray[np.float64]],
) -> Metrics:
    """Part -> target -> metrics, for the parts that have rows."""
    return {
        part: {
            name: scores(values[parts == part], predictions[name][parts == part])
            for name, values in library.targets.items()
        }
        for part in PARTS
        if np.any(parts == part)
    }


def write_run(result: RunResult, folder: RunFolder) -> None:
    """Write every file of the run folder; the manifest is written last."""
    path, library = folder.path, result.library
    table = pd.DataFrame({**library.name_columns, "part": result.parts})
    write_table(path / "split.csv", table)
    for name, values in library.targets.items():
        table[f"{name}_measured"] = values
        table[f"{name}_predicted"] = result.predictions[name]
        if result.fitted.cross_fit is not None:
            table[f"{name}_cross_validated"] = result.fitted.cross_fit.predictions[name].astype("float32")
        table[f"{name}_plsr"] = result.plsr.predictions[name].astype("float32")
    table[T2], table[Q], table["status"] = result.t2, result.q, result.status
    write_table(path / "predictions.csv", table)
    write_table(path / "history.csv", result.fitted.history)
    write_table(path / "outliers.csv", result.outliers, float_format="%.4g")
    write_json(path / "metrics.json", result.metrics)
    write_json(path / "card.json", card(result))
    if result.config.run.keep_data:
        write_with(path / DATA, lambda file: save_data(file, library, result.parts))
    write_with(path / "model.keras", lambda file: save_model(result.fitted.model, file))
    write_text(path / "report.html", report(result))
    folder.finish()
