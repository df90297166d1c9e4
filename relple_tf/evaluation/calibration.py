"""The main job: split, train, score, compare with PLSR, and leave a run folder."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf import __version__
from relple_tf.config import Config, to_toml
from relple_tf.evaluation.baselines import plsr
from relple_tf.evaluation.metrics import scores
from relple_tf.evaluation.report import report
from relple_tf.models import front_end
from relple_tf.models.relevance import sources
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.split import split, whole_units
from relple_tf.spectra.tables import read_parts
from relple_tf.training.files import write_text, write_with
from relple_tf.training.fit import Trained, fit, seed_everything
from relple_tf.training.preparation import Prepared, prepare
from relple_tf.training.runs import RunFolder, data_hash, write_json

PARTS = ("train", "validation", "test")

Metrics = dict[str, dict[str, Any]]
"""Part -> target -> figures, and `baseline` -> model -> the same."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """A finished run in memory; the run folder and the report are made from it."""

    config: Config
    library: SpectralLibrary
    parts: npt.NDArray[np.str_]
    prepared: Prepared
    trained: Trained
    predictions: dict[str, npt.NDArray[np.float64]]
    """Target -> (n,) in laboratory units, all rows."""
    baseline: dict[str, npt.NDArray[np.float64]]
    """The same by PLSR."""
    components: dict[str, int]
    """Target -> PLSR components."""
    metrics: Metrics
    notes: tuple[str, ...]


def source_name(config: Config) -> str:
    """Short name of the data for folders and headings: a source's name, or a file's without its suffixes."""
    return Path(config.data.source).name.partition(".")[0]


def calibrate(
    library: SpectralLibrary, config: Config, folder: RunFolder, say: Callable[[str], None]
) -> Metrics:
    """Train on `library` and fill `folder`; takes up the state that a killed run left there.

    Args:
        say: Told what was decided about the data, and what is being done.

    Returns:
        The content of metrics.json.

    Raises:
        InputError: the library cannot be split as the config asks.
    """
    seed_everything(config.training.seed)
    declared = (
        read_parts(Path(config.split.file), library.ids) if config.split.file else None
    )
    parts, split_notes = split(library, config.split, config.training.seed, declared)
    prepared = prepare(library, parts, config)
    notes = (*library.notes, *split_notes, *prepared.notes)
    for note in notes:
        say(note)
    say(
        f"{len(library)} soils x {len(library.wavelengths_nm)} bands: "
        + ", ".join(f"{np.sum(parts == part)} {part}" for part in PARTS)
        + f"; {config.preset}: {prepared.network.count_params():,} weights"
    )
    folder.begin(config)
    trained = fit(prepared, config, folder.checkpoint, data_hash(library))
    say("PLSR on the same split ...")
    result = evaluate(library, parts, prepared, trained, config, notes)
    write_run(result, folder)
    return result.metrics


def evaluate(
    library: SpectralLibrary,
    parts: npt.NDArray[np.str_],
    prepared: Prepared,
    trained: Trained,
    config: Config,
    notes: tuple[str, ...],
) -> Calibration:
    """Predict all rows, fit PLSR on the same split, score both. The test part is read here and nowhere before."""
    predicted = trained.model.predict(library.spectra, batch_size=256, verbose=0)
    predictions = {name: np.asarray(values)[:, 0] for name, values in predicted.items()}
    baseline, components = plsr(
        front_end.apply(prepared.absorbance_stage, library.spectra),
        library.targets,
        parts != "test",
        whole_units(library, parts),
        prepared.scales,
        window_points=front_end.window_points(config.front_end),
        seed=config.training.seed,
    )
    metrics: Metrics = score_parts(library, parts, predictions)
    metrics["baseline"] = {"plsr": score_parts(library, parts, baseline)["test"]}
    return Calibration(
        config=config,
        library=library,
        parts=parts,
        prepared=prepared,
        trained=trained,
        predictions=predictions,
        baseline=baseline,
        components=components,
        metrics=metrics,
        notes=notes,
    )


def score_parts(
    library: SpectralLibrary,
    parts: npt.NDArray[np.str_],
    predictions: dict[str, npt.NDArray[np.float64]],
) -> Metrics:
    """Part -> target -> figures of merit."""
    return {
        part: {
            name: scores(values[parts == part], predictions[name][parts == part])
            for name, values in library.targets.items()
        }
        for part in PARTS
    }


def write_run(result: Calibration, folder: RunFolder) -> None:
    """Write every file of the run folder, the manifest last."""
    path, library = folder.path, result.library
    write_text(path / "config.toml", to_toml(result.config))
    table = pd.DataFrame({"id": library.ids, "part": result.parts})
    write_text(path / "split.csv", table.to_csv(index=False))
    for name, values in library.targets.items():
        table[f"{name}_measured"] = values
        table[f"{name}_predicted"] = result.predictions[name]
        table[f"{name}_plsr"] = result.baseline[name].astype("float32")
    write_text(path / "predictions.csv", table.to_csv(index=False))
    write_text(path / "history.csv", result.trained.history.to_csv(index=False))
    write_json(path / "metrics.json", result.metrics)
    write_json(path / "card.json", card(result))
    write_with(path / "model.keras", result.trained.model.save)
    write_text(path / "report.html", report(result))
    folder.finish()


def card(result: Calibration) -> dict[str, Any]:
    """What someone who holds only the model must know about it."""
    library, problem, config = result.library, result.prepared.problem, result.config
    return {
        "source": library.source,
        "simulated": library.source == "simulated",
        "data_sha256": data_hash(library),
        "soils": {part: int(np.sum(result.parts == part)) for part in PARTS},
        "input": {
            "quantity": library.quantity,
            "wavelengths_nm": library.wavelengths_nm.tolist(),
        },
        "targets": {
            scale.name: {
                "unit": unit(scale.name),
                "log1p": scale.log1p,
                "lowest": float(scale.to_lab(np.array(scale.low))),
                "highest": float(scale.to_lab(np.array(scale.high))),
                "test": result.metrics["test"][scale.name],
            }
            for scale in result.prepared.scales
        },
        "front_end": {
            "grid_nm": result.prepared.grid_nm.tolist(),
            "channels": list(config.front_end.channels),
            "whitened_components": problem.components,
        },
        "model": {
            "preset": config.preset,
            "architecture": config.model.architecture,
            "weights": int(result.trained.network.count_params()),
        },
        "relevance": {
            "correlation": problem.correlation.tolist(),
            "reads": sources(problem.correlation, problem.targets, config.model),
        },
        "seed": config.training.seed,
        "notes": list(result.notes),
        "versions": {
            "relple_tf": __version__,
            **{name: version(name) for name in ("keras", "tensorflow", "numpy", "scikit-learn")},
        },
    }


def unit(target: str) -> str:
    """The unit that a target's name carries; pH and names without one have none."""
    known = {"g_kg": "g/kg", "cmolc_kg": "cmolc/kg", "pct": "%"}
    return next((text for suffix, text in known.items() if target.endswith(f"_{suffix}")), "")
