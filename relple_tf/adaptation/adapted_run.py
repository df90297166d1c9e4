"""Adapt a run: read its folder and the local soils, adapt each target, and write an ordinary run folder."""

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pandas as pd

from relple_tf.adaptation.combination import COMBINED, FEWEST_SAMPLES, LocalSoils, combine
from relple_tf.adaptation.corrections import widened_scale
from relple_tf.adaptation.page import adaptation_page
from relple_tf.adaptation.reliability import LocalErrors, widened_limits
from relple_tf.adaptation.result import Adaptation, TargetAdaptation
from relple_tf.artefacts.reading import LARGEST_JSON_BYTES, read_bytes
from relple_tf.atomic_files import write_table, write_text, write_with
from relple_tf.config import Config
from relple_tf.errors import InputError
from relple_tf.evaluation.metrics import scores
from relple_tf.models.deployed import (
    KERNEL_REGRESSION,
    LOCAL_REGRESSION,
    LOCAL_SLOPE,
    T2,
    KernelPart,
    LocalPart,
    Q,
    deployed_model,
)
from relple_tf.models.domain import Limits, status
from relple_tf.models.target_scaling import TargetScale
from relple_tf.models.views import view_name
from relple_tf.pipeline import scaled
from relple_tf.prediction.runs import estimates, to_model_input
from relple_tf.runs.card_schema import CARD, run_card
from relple_tf.runs.folder import CONFIG, REMEDY, RunFolder, data_hash, read_config, write_json
from relple_tf.runs.model_loading import load_model
from relple_tf.runs.saved_model import save_model
from relple_tf.runs.stored_data import DATA, load_data, save_data
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.laboratory_columns import NoLaboratoryValuesError
from relple_tf.spectra.readers.laboratory_names import TARGETS
from relple_tf.spectra.sources.named import load
from relple_tf.spectra.splitting.grouping import group_labels
from relple_tf.spectra.splitting.split import PARTS
from relple_tf.training.intervals import Interval

Floats = npt.NDArray[np.float64]
SAME_SCAN = 1e-4
"""Scans whose reflectances differ by less at every band are the same scan: more than the rounding of a table, less than
the noise of an instrument."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredRun:
    """A run as its folder holds it."""

    folder: Path
    config: Config
    card: dict[str, Any]
    model: keras.Model
    library: SpectralLibrary
    parts: npt.NDArray[np.str_]

    @property
    def scales(self) -> tuple[TargetScale, ...]:
        """Scale of each target."""
        scales: tuple[TargetScale, ...] = self.model.get_layer("target_scaling").scales
        return scales

    def interval(self, name: str) -> Interval | None:
        """Interval of a target; None if the run has none."""
        entry = self.card["targets"][name]["interval"]
        return None if entry is None else Interval(**{field.name: entry[field.name] for field in fields(Interval)})


def read_local(run_folder: Path, source: str, lab: str) -> SpectralLibrary:
    """Read local soils as the run read its library, but on their own wavelengths.

    Args:
        run_folder: Folder of the run.
        source: Table, instrument file or folder of scans, as `--data` of `relple_tf.train`.
        lab: Table of laboratory values; empty: the source holds them.

    Raises:
        InputError: the folder is not a complete run, or the source is invalid or has no target of the run.
    """
    folder = RunFolder(path=run_folder)
    folder.verify()
    config = read_config(run_folder / CONFIG)
    card = run_card(read_bytes(run_folder / CARD, REMEDY, LARGEST_JSON_BYTES), run_folder / CARD)
    data = dataclasses.replace(config.data, source=source, lab=lab, sensor="", targets=(), group_column="")
    others = [name for name in card["targets"] if name not in TARGETS]
    try:
        local = load(dataclasses.replace(config, data=data), select=False)
    except NoLaboratoryValuesError:
        if not others:
            raise
        local = load(dataclasses.replace(config, data=dataclasses.replace(data, targets=(others[0],))), select=False)
    for name in others:
        # Read one by one: the source may lack some of them.
        with suppress(InputError):
            one = load(dataclasses.replace(config, data=dataclasses.replace(data, targets=(name,))), select=False)
            local = dataclasses.replace(local, targets=local.targets | one.targets)
    return local


def adapt_run(
    run_folder: Path, local: SpectralLibrary, folder: RunFolder, *, notify: Callable[[str], None]
) -> Adaptation:
    """Adapt a run to local soils, and write the adapted run.

    Args:
        run_folder: Folder of the run; not changed.
        local: Local soils with laboratory values, on any wavelengths that cover those of the run.
        folder: Of the adapted run, locked.
        notify: Prints a line to the user.

    Raises:
        InputError: the run is damaged or has no stored data; the local soils have no target of the run, too few
            laboratory values, or scans of the library; or their wavelengths do not cover those of the model.
    """
    run = read_run(run_folder)
    common = [name for name in run.card["targets"] if name in local.targets]
    if not common:
        raise InputError(
            f"{local.source}: expected laboratory values of a target of {run_folder}, which are "
            f"{', '.join(run.card['targets'])}; received {', '.join(local.targets)}"
        )
    converted, notes = to_model_input(local, run.card)
    refuse_known_scans(run, converted)
    result = adaptation(run, converted, (*local.notes, *notes))
    for note in (*result.notes, *(f"warning: {doubt}" for doubt in local.doubts)):
        notify(note)
    _write(run, result, folder)
    return result


def read_run(run_folder: Path) -> StoredRun:
    """Read a run with its model and stored data.

    Raises:
        InputError: the folder is not a complete run, is damaged, or holds no data.
    """
    RunFolder(path=run_folder).verify()
    card = run_card(read_bytes(run_folder / CARD, REMEDY, LARGEST_JSON_BYTES), run_folder / CARD)
    library, parts = load_data(run_folder / DATA)
    return StoredRun(
        folder=run_folder,
        config=read_config(run_folder / CONFIG),
        card=card,
        model=load_model(run_folder / "model.keras", card),
        library=library,
        parts=parts,
    )


def refuse_known_scans(run: StoredRun, local: SpectralLibrary) -> None:
    """The run was fitted on its library, so these soils would seem to be estimated without error."""
    stored, scans = (
        library.spectra if library.quantity == "reflectance" else 10.0**-library.spectra
        for library in (run.library, local)
    )
    known = [
        local.row_name(row) for row, scan in enumerate(scans) if np.abs(stored - scan).max(axis=1).min() < SAME_SCAN
    ]
    if known:
        raise InputError(
            f"{local.source}: expected soils that are not in the library of {run.folder}; {len(known)} of {len(local)} "
            f"scans are, such as {known[0]}; leave them out"
        )


def adaptation(run: StoredRun, local: SpectralLibrary, notes: tuple[str, ...] = ()) -> Adaptation:
    """Adapt all targets, intervals and limits, and build the adapted model.

    Args:
        run: From `read_run`.
        local: Local soils on the wavelengths of the model, in its quantity.
        notes: To repeat in the report.

    Raises:
        InputError: no target has enough laboratory values.
    """
    samples = group_labels(local, keep_groups=False)
    before = estimates(run.model, local.spectra)
    scales, measured, reasons = [], {}, {}
    for scale in run.scales:
        values = local.targets.get(scale.name, np.full(len(local), np.nan))
        if reason := _reason_against(values, samples):
            reasons[scale.name] = reason
            scales.append(scale)
        else:
            measured[scale.name] = scale.to_model(values)
            scales.append(widened_scale(scale, values))
    if not measured:
        given = "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if name in local.targets)
        raise InputError(f"{local.source}: {given}; nothing can be adapted; measure more local soils")
    unchanged = (f"warning: {name}: {reason}; its estimates are unchanged" for name, reason in reasons.items())
    notes = (*notes, *unchanged)
    soils = local_soils(run, local.spectra, measured, samples)
    number = len(LocalPart.all_of(run.model)) + 1
    combinations, regression = combine(
        soils, run.config.model.landmarks, run.config.training.seed, LOCAL_REGRESSION.format(number)
    )
    slopes = [combinations[name].slope if name in combinations else 1.0 for name in soils.estimated]
    part = LocalPart(slope=scaled(np.array(slopes), LOCAL_SLOPE.format(number)), regression=regression)
    model = _rebuilt(run, scales, part)
    domain = run.card["domain"]
    limits = Limits(t2=domain["limits"][T2], q=domain["limits"][Q], share=domain["share_within"])
    wide = widened_limits(
        limits,
        before,
        lambda spectra: estimates(model, spectra),
        local.wavelengths_nm,
        local.quantity,
        tuple(run.card["targets"]),
    )
    after = estimates(model, local.spectra)
    targets = {}
    missing = np.full(len(local), np.nan)
    for scale in run.scales:
        name, combination = scale.name, combinations.get(scale.name)
        errors = LocalErrors(
            widening=(wide.t2 / limits.t2) ** 0.5,
            scale=scale,
            measured=measured.get(name, missing),
            held_out=missing if combination is None else combination.held_out[COMBINED],
            difficulty=wide.difficulty(after[T2]),
            samples=samples,
        )
        stored = run.interval(name)
        targets[name] = TargetAdaptation(
            scale=scale,
            combination=combination,
            interval=None if stored is None else errors(stored),
            local_errors=errors,
        )
    return Adaptation(
        source=str(run.folder),
        local=local,
        targets=targets,
        model=model,
        before=before,
        after=after,
        limits_before=limits,
        limits=wide,
        status_before=status({name: before[name] for name in targets}, before[T2], before[Q], limits),
        status=status({name: after[name] for name in targets}, after[T2], after[Q], wide),
        notes=notes,
    )


def _reason_against(values: Floats, samples: npt.NDArray[np.intp]) -> str:
    """Why a target cannot be adapted with these laboratory values (n,); empty if it can."""
    known = np.isfinite(values)
    if (count := len(np.unique(samples[known]))) < FEWEST_SAMPLES:
        return f"expected at least {FEWEST_SAMPLES} samples with a laboratory value, received {count}"
    if np.ptp(values[known]) == 0:
        return f"expected laboratory values that differ, received {count} times {values[known][0]:g}"
    return ""


def local_soils(
    run: StoredRun,
    spectra: npt.NDArray[np.float32],
    measured: dict[str, Floats],
    samples: npt.NDArray[np.intp],
) -> LocalSoils:
    """Estimates and scores of local scans (n, bands); `measured` and `samples` as in `LocalSoils`."""
    model, regression = run.model, run.model.get_layer(KERNEL_REGRESSION)
    inside = keras.Model(model.input, [model.get_layer("target_scaling").input, *keras.tree.flatten(regression.input)])
    estimated, *scores = inside.predict(spectra, verbose=0)
    network = model.get_layer(run.config.model.architecture)
    columns = estimated.astype("float64").T
    return LocalSoils(
        estimated={scale.name: column for scale, column in zip(run.scales, columns, strict=True)},
        measured=measured,
        scores=tuple(scores),
        kernels=tuple(np.asarray(network.get_layer(view_name(number)).kernel) for number in range(len(scores))),
        samples=samples,
    )


def _rebuilt(run: StoredRun, scales: list[TargetScale], local: LocalPart) -> keras.Model:
    """The deployed model with other scales of the targets, and a further adaptation."""
    full = run.model.get_layer(run.config.model.architecture)
    return deployed_model(
        run.model.get_layer("absorbance_stage"),
        run.model.get_layer("channel_stage"),
        keras.Model(full.input, full.output[0], name=full.name),
        scales,
        run.model.get_layer("domain_statistics"),
        KernelPart.of(run.model),
        (*LocalPart.all_of(run.model), local),
    )


def _write(run: StoredRun, result: Adaptation, folder: RunFolder) -> None:
    """Write every file of the run folder.

    The config is written next to last, and the manifest last: a folder with a config and no manifest is an interrupted
    training, which `relple_tf.train --resume` would continue.
    """
    path, local = folder.path, result.local
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
