"""Write the folder of an adapted run."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.adaptation.page import adaptation_page
from relple_tf.adaptation.result import Adaptation
from relple_tf.adaptation.stored_run import StoredRun
from relple_tf.atomic_files import write_table, write_text, write_with
from relple_tf.evaluation.metrics import scores
from relple_tf.models.deployed import T2, Q
from relple_tf.runs.card_schema import CARD
from relple_tf.runs.folder import RunFolder, data_hash, write_json
from relple_tf.runs.saved_model import save_model
from relple_tf.runs.stored_data import DATA, save_data
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.split import PARTS


def write_adapted(run: StoredRun, result: Adaptation, folder: RunFolder) -> None:
    """Write every file of the run folder.

    The config is written next to last, and the manifest last: a folder with a config and no manifest is an interrupted
    training, which `relple_tf.train --resume` would continue.
    """
    path, local = folder.path, result.local
    if result.instrument is not None:
        # The model does not read the instrument of these scans: they do not test it.
        kept = run.parts != "test"
        run = replace(run, library=run.library.rows(kept), parts=run.parts[kept])
    library = _joined(run, result)
    parts = np.concatenate([run.parts, np.full(len(local), "test")])
    metrics = {
        "test": {name: scores(local.targets[name], result.held_out(name)) for name in result.adapted},
        "before": {name: scores(local.targets[name], result.before[name]) for name in result.adapted},
    }
    table = pd.DataFrame({**local.name_columns, "part": "test"})
    write_table(path / "split.csv", pd.DataFrame({**library.name_columns, "part": parts}))
    for name in result.targets:
        table[f"{name}_measured"] = local.targets.get(name, np.nan)
        table[f"{name}_before"] = result.before[name]
        table[f"{name}_predicted"] = result.after[name]
        if name in result.adapted:
            table[f"{name}_cross_validated"] = result.held_out(name).astype("float32")
    table[T2], table[Q], table["status"] = result.after[T2], result.after[Q], result.status
    write_table(path / "predictions.csv", table)
    for name in ("history.csv", "outliers.csv"):
        write_text(path / name, (run.folder / name).read_text(encoding="utf-8"))
    write_json(path / "metrics.json", metrics)
    write_json(path / CARD, _card(run, result, library, parts))
    write_with(path / DATA, lambda file: save_data(file, library, parts))
    write_with(path / "model.keras", lambda file: save_model(result.model, file))
    write_text(path / "report.html", adaptation_page(result))
    folder.begin(run.config)
    folder.finish()


def _joined(run: StoredRun, result: Adaptation) -> SpectralLibrary:
    """The library of the run and the local soils, with the targets of the run.

    The test part of an adapted target are the local soils: the test soils of the run keep their scans, with which an
    export is verified, but not their value of this target.
    """
    library, local = run.library, result.local
    missing, is_tested = np.full(len(local), np.nan), run.parts == "test"
    targets = {}
    for name in run.card["targets"]:
        values = np.where(is_tested & (name in result.adapted), np.nan, library.targets[name])
        targets[name] = np.concatenate([values, local.targets.get(name, missing)])
    return SpectralLibrary(
        source=library.source,
        spectra=np.concatenate([library.spectra, local.spectra]),
        wavelengths_nm=library.wavelengths_nm,
        quantity=library.quantity,
        targets=targets,
        ids=np.concatenate([library.ids, local.ids]),
        samples=np.concatenate([library.sample_labels, np.char.add("local ", local.sample_labels)]),
    ).checked()


def _card(run: StoredRun, result: Adaptation, library: SpectralLibrary, parts: npt.NDArray[np.str_]) -> dict[str, Any]:
    card = dict(run.card)
    card["model"] = card["model"] | {"weights": int(result.model.count_params())}
    card["data_sha256"] = data_hash(library)
    card["soils"] = {part: int(np.sum(parts == part)) for part in PARTS}
    labels = library.sample_labels
    card["samples"] = {part: len(np.unique(labels[parts == part])) for part in PARTS}
    if card["samples"] == card["soils"]:
        del card["samples"]
    card["targets"] = {
        name: {
            **{key: value for key, value in entry.items() if key != "need_curve"},
            "lowest": float(result.scale_after(name).to_lab(np.array(-np.inf))),
            "highest": float(result.scale_after(name).to_lab(np.array(np.inf))),
            "interval": result.interval_entry(name, entry["interval"]),
            "test": scores(result.local.targets[name], result.held_out(name))
            if name in result.adapted
            else entry["test"],
        }
        for name, entry in run.card["targets"].items()
    }
    card["domain"] = {
        **card["domain"],
        "limits": {T2: result.limits.t2, Q: result.limits.q},
        "test_share_outside": float(np.mean(result.status != "ok")),
    }
    card["adaptation"] = result.facts
    card["notes"] = [*card["notes"], *result.statements]
    return card
