"""Laws of the commands train and predict: the files they write, and the input they refuse."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from relple_tf import predict, train
from relple_tf.command_line import run
from relple_tf.config import SimulatedConfig
from relple_tf.prediction.runs import BATCH_SCANS, estimates, predict_scans
from relple_tf.runs.folder import locked
from relple_tf.runs.stored_data import load_data
from relple_tf.spectra.readers.scans import open_scans
from relple_tf.spectra.sources.simulated import simulate

TINY = [
    f"--set={field}"
    for field in (
        "training.cv_folds=0",
        "training.max_epochs=3",
        "training.batch_size=16",
        "front_end.step_nm=20",
        "front_end.derivative_window_nm=60",
        "front_end.whitened_components=5",
        "model.expert_kind=cnn",
    )
]
NANO = ["--preset", "rs_ple_nano", *TINY]
CROSS_FITTED = [
    *NANO,
    "--set=model.architecture=shared_bottom",
    "--set=training.cv_folds=2",
    "--set=training.workers=1",
    "--set=training.max_epochs=20",
]
"""Training for twenty epochs takes long enough to be killed in between."""
RUN_FILES = {
    "card.json",
    "config.toml",
    "data.npz",
    "history.csv",
    "manifest.json",
    "metrics.json",
    "model.keras",
    "outliers.csv",
    "predictions.csv",
    "report.html",
    "split.csv",
}


def call(command, *arguments):
    """Run a command in this process and return its exit code."""
    with pytest.raises(SystemExit) as exit_:
        run(command.main, [str(argument) for argument in arguments])
    return exit_.value.code


def table(rows=60, **columns):
    """A valid table of simulated soils, with columns replaced or added; None drops a column."""
    library = simulate(SimulatedConfig(soils=rows, step_nm=10))
    names = [f"{nm:g}" for nm in library.wavelengths_nm]
    frame = pd.DataFrame(library.spectra, columns=names)
    frame.insert(0, "id", library.ids)
    for name, values in library.targets.items():
        frame[name] = values
    for name, values in columns.items():
        frame = frame.drop(columns=name) if values is None else frame.assign(**{name: values})
    return frame


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "soils.csv"
    table().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def finished(csv, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert call(train, "--data", csv, "--targets", "OC_g_kg,pH", *CROSS_FITTED, "--out", folder) == 0
    return folder


def test_a_run_writes_its_files_and_no_others(finished):
    assert {path.name for path in finished.iterdir()} == RUN_FILES


def test_linked_scans_stay_in_one_part_and_every_output_names_their_sample(tmp_path):
    """Two scans of each soil under names with the number of the scan."""
    soils = table(40)
    scans = pd.concat([soils.assign(id=[f"{name}_{number}" for name in soils["id"]]) for number in (1, 2)])
    bands = [name for name in scans if name[0].isdigit()]
    scans[bands] += np.random.default_rng(0).normal(0, 0.002, scans[bands].shape)
    scans.to_csv(tmp_path / "soils.csv", index=False)
    folder = tmp_path / "run"
    assert call(train, "--data", tmp_path / "soils.csv", "--targets", "OC_g_kg,pH", *NANO, "--out", folder) == 0
    for name in ("split.csv", "predictions.csv"):
        rows = pd.read_csv(folder / name)
        assert list(rows)[:3] == ["id", "sample", "part"]
        assert rows["id"].tolist() == scans["id"].tolist()
        assert rows["sample"].tolist() == [f"{name}_1" for name in soils["id"]] * 2
        assert rows.groupby("sample")["part"].nunique().max() == 1
    card = json.loads((folder / "card.json").read_text())
    assert {part: 2 * count for part, count in card["samples"].items()} == card["soils"]
    assert any("80 rows are scans of 40 samples" in note for note in card["notes"])
    assert "80 scans of 40 samples" in (folder / "report.html").read_text()
    stored, _ = load_data(folder / "data.npz")
    assert stored.samples.tolist() == rows["sample"].tolist()


def test_predict_gives_the_predictions_of_the_run(finished, csv, tmp_path):
    assert call(predict, finished, csv, "--out", tmp_path / "p.csv") == 0
    predicted = pd.read_csv(tmp_path / "p.csv")
    stored = pd.read_csv(finished / "predictions.csv")
    assert list(predicted) == ["id", "OC_g_kg", "OC_g_kg_low", "OC_g_kg_high", "pH", "pH_low", "pH_high", "status"]
    assert list(predicted["id"]) == list(stored["id"])
    assert list(predicted["status"]) == list(stored["status"])
    for target in ("OC_g_kg", "pH"):
        np.testing.assert_allclose(predicted[target], stored[f"{target}_predicted"], rtol=1e-5)
        assert (predicted[f"{target}_low"] <= predicted[target]).all()
        assert (predicted[target] <= predicted[f"{target}_high"]).all()


@pytest.fixture(scope="module")
def scans(csv, tmp_path_factory):
    """The table of the finished run as a folder of single scans, and a table of its laboratory values beside them."""
    folder = tmp_path_factory.mktemp("scans")
    frame = pd.read_csv(csv, dtype=str)
    bands = [column for column in frame if column.isdigit()]
    for row in range(len(frame)):
        frame[bands][row : row + 1].to_csv(folder / f"{frame['id'][row]}.csv", index=False)
    frame[["id", "OC_g_kg", "pH"]][::-1].to_csv(folder / "lab.csv", index=False)
    return folder


def without_scan_names(path):
    """The text of a table without the column `scan`, which names the file of each scan."""
    return pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns="scan").to_csv(index=False)


def test_a_folder_of_scans_with_a_laboratory_table_trains_the_same_model(finished, scans, tmp_path, capsys):
    out, arguments = tmp_path / "run", ["--data", scans, "--lab", scans / "lab.csv", "--targets", "OC_g_kg,pH"]
    assert call(train, *arguments, *CROSS_FITTED, "--out", out) == 0
    assert "60 of 60 scans have a row" in capsys.readouterr().err
    assert without_scan_names(out / "predictions.csv") == (finished / "predictions.csv").read_text()
    for flags in ([], [*arguments, *CROSS_FITTED]):
        assert call(train, "--out", out, "--resume", *flags) == 0
        assert "the run is complete" in capsys.readouterr().err
    assert call(train, *arguments[:2], *CROSS_FITTED, "--out", out, "--resume") == 2
    assert "is not this command's configuration" in capsys.readouterr().err


def test_predict_reads_a_folder_as_the_table_and_does_not_write_into_it(finished, csv, scans, tmp_path, capsys):
    assert call(predict, finished, csv, "--out", tmp_path / "table.csv") == 0
    assert call(predict, finished, scans, "--out", tmp_path / "folder.csv") == 0
    assert without_scan_names(tmp_path / "folder.csv") == (tmp_path / "table.csv").read_text()
    assert "not read, because they contain no spectra: lab.csv" in capsys.readouterr().err
    assert call(predict, finished, scans, "--out", scans / "values.csv") == 2
    assert "which this command reads" in capsys.readouterr().err
    assert call(predict, finished, finished) == 2
    assert "received the folder of a run or bundle" in capsys.readouterr().err


def test_the_coverage_in_the_card_equals_that_of_the_predicted_intervals(finished, csv, tmp_path):
    assert call(predict, finished, csv, "--out", tmp_path / "p.csv") == 0
    predicted = pd.read_csv(tmp_path / "p.csv")
    stored = pd.read_csv(finished / "predictions.csv")
    test = stored["part"] == "test"
    card = json.loads((finished / "card.json").read_text())
    for target in ("OC_g_kg", "pH"):
        measured = stored[f"{target}_measured"]
        inside = (predicted[f"{target}_low"] <= measured) & (measured <= predicted[f"{target}_high"])
        assert card["targets"][target]["interval"]["test"]["coverage"] == pytest.approx(inside[test].mean())


def test_an_out_of_domain_scan_is_predicted_with_status_outside(finished, tmp_path):
    frame = table()
    bands = [column for column in frame if column.isdigit()]
    frame[bands] = frame[bands].astype(float)
    frame.loc[3, bands] = 0.3 + 0.2 * np.sin(np.arange(len(bands)) / 2)
    frame.to_csv(tmp_path / "scans.csv", index=False)
    assert call(predict, finished, tmp_path / "scans.csv", "--out", tmp_path / "p.csv") == 0
    flagged = pd.read_csv(tmp_path / "p.csv")
    assert flagged["status"][3] == "outside"
    others = flagged.index != 3
    assert (flagged["status"] == pd.read_csv(finished / "predictions.csv")["status"])[others].all()
    assert flagged.drop(columns="status").notna().all(axis=None)


def test_metrics_equal_those_computed_from_the_predictions(finished):
    stored = pd.read_csv(finished / "predictions.csv")
    test = stored[stored["part"] == "test"]
    metrics = json.loads((finished / "metrics.json").read_text())
    for name, scores in (
        ("predicted", metrics["test"]["pH"]),
        ("plsr", metrics["baseline"]["plsr"]["pH"]),
    ):
        error = test[f"pH_{name}"] - test["pH_measured"]
        assert scores["n"] == len(test)
        assert scores["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)


def test_validation_metrics_are_those_of_the_out_of_fold_predictions(finished):
    stored = pd.read_csv(finished / "predictions.csv")
    assert set(stored["part"]) == {"train", "test"}
    development = stored[stored["part"] == "train"]
    metrics = json.loads((finished / "metrics.json").read_text())
    for target in ("OC_g_kg", "pH"):
        error = development[f"{target}_cross_validated"] - development[f"{target}_measured"]
        scores = metrics["validation"][target]
        assert scores["n"] == len(development)
        assert scores["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
        assert stored[f"{target}_cross_validated"][stored["part"] == "test"].isna().all()


def test_card_report_and_output_name_simulated_data(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["--data", "simulated", "--set=simulated.soils=80", *NANO, "--set=model.levels=1", "--out", out]
    assert call(train, *arguments) == 0
    assert json.loads((out / "card.json").read_text())["simulated"] is True
    assert "simulated" in capsys.readouterr().out
    assert "simulated" in (out / "report.html").read_text()
    assert set(json.loads((out / "metrics.json").read_text())["test"]) == {
        "N_g_kg",
        "OC_g_kg",
        "CaCO3_g_kg",
        "CEC_cmolc_kg",
        "pH",
    }


BAD_COMMANDS = {
    "unknown flag": (["--speed", "9"], ["--speed", "--preset"]),
    "unknown preset": (["--preset", "huge"], ["huge", "rs_ple_base"]),
    "unknown section": (["--set", "modle.levels=1"], ["modle", "model"]),
    "unknown field": (["--set", "model.levles=1"], ["levles", "levels"]),
    "wrong type": (["--set", "model.levels=two"], ["two", "int"]),
    "unknown architecture": (["--set", "model.architecture=gru"], ["gru", "rs_ple"]),
    "unknown strategy": (["--set", "training.balancing=luck"], ["luck", "uncertainty"]),
    "no shared layer": (
        ["--preset", "single_task_base", "--set", "training.balancing=gradnorm"],
        ["gradnorm", "single_task"],
    ),
    "missing file": (["--data", "no/such.csv"], ["no/such.csv"]),
    "laboratory values twice": (["--lab", "lab.csv"], ["lab.csv", "limesoda contains its laboratory values"]),
    "missing laboratory table": (["--data", ".", "--lab", "no/lab.csv"], ["no/lab.csv"]),
    "missing config": (["--config", "no/such.toml"], ["no/such.toml"]),
    "infinite number": (["--set", "front_end.start_nm=inf"], ["start_nm", "inf"]),
    "unknown target": (["--targets", "Au_ppm"], ["Au_ppm", "pH"]),
    "a single fold": (["--set", "training.cv_folds=1"], ["training.cv_folds", "between 2 and 50"]),
    "field of an earlier version": (["--set", "training.members=5"], ["training.members", "training.cv_folds"]),
    "view of a channel that is not used": (["--set", "front_end.channels=snv"], ["absorbance", "front_end.views="]),
}


@pytest.mark.parametrize(("arguments", "named"), BAD_COMMANDS.values(), ids=BAD_COMMANDS)
def test_bad_commands(arguments, named, tmp_path, capsys):
    out = tmp_path / "run"
    assert call(train, *arguments, "--out", out) == 2
    check_refusal(capsys, named, out)


def test_the_config_of_an_earlier_version_is_refused_with_the_present_field_name(tmp_path, capsys):
    config, out = tmp_path / "config.toml", tmp_path / "run"
    config.write_text("[training]\nmembers = 5\n")
    assert call(train, "--config", config, "--out", out) == 2
    check_refusal(capsys, [str(config), "training.members", "training.cv_folds"], out)


def with_cell(column, row, value):
    frame = table().astype({column: object})
    frame.loc[row, column] = value
    return frame


def with_zero_spectrum(row, level=0.0, noise=0.0):
    frame = table()
    bands = [column for column in frame if column.isdigit()]
    frame[bands] = frame[bands].astype(float)
    frame.loc[row, bands] = level + noise * np.arange(len(bands)) / len(bands)
    return frame


BAD_TABLES = {
    "empty": (table().head(0), ["soils.csv"]),
    "no bands": (table()[["id", "pH"]], ["soils.csv", "band"]),
    "word in a band": (with_cell("1500", 3, "wet"), ["sim00004", "1500", "wet"]),
    "empty band": (with_cell("1500", 3, None), ["sim00004", "1500"]),
    "infinite band": (with_cell("1500", 3, "inf"), ["sim00004", "1500"]),
    "reflectance above 1.5": (with_cell("1500", 3, 1.7), ["sim00004", "1.7"]),
    "negative carbon": (with_cell("OC_g_kg", 5, -2.0), ["sim00006", "OC_g_kg", "-2"]),
    "pH of 15": (with_cell("pH", 5, 15.0), ["sim00006", "pH", "15"]),
    "constant target": (table(pH=6.0), ["pH"]),
    "empty target": (table(pH=np.nan), ["pH"]),
    "19 values": (table(pH=[6.0, 7.0] * 9 + [5.0] + [np.nan] * 41), ["pH", "19"]),
    "all-zero spectrum": (with_zero_spectrum(7), ["sim00008", "row 8"]),
    "constant apart from noise": (with_zero_spectrum(7, 0.5, 2e-5), ["sim00008", "flat"]),
    "a part without variation": (
        table(OC_g_kg=[1.0, 2.0] * 20 + [3.0] * 20, split=["train"] * 30 + ["val"] * 10 + ["test"] * 20),
        ["OC_g_kg", "test part"],
    ),
}


@pytest.mark.parametrize(("frame", "named"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_tables(frame, named, tmp_path, capsys):
    frame.to_csv(tmp_path / "soils.csv", index=False)
    out = tmp_path / "run"
    arguments = ["--data", tmp_path / "soils.csv", "--targets", "pH,OC_g_kg", "--out", out]
    assert call(train, *arguments, "--set", "data.bad_scans=refuse") == 2
    check_refusal(capsys, named, out)


def check_refusal(capsys, named, out):
    """Check that stderr has one line with the expected words, and that no folder was created."""
    captured = capsys.readouterr()
    assert captured.out == ""
    errors = captured.err.splitlines()
    assert len(errors) == 1, errors
    assert errors[0].startswith("error: ")
    for name in named:
        assert name in errors[0]
    assert not out.exists()


def test_a_folder_with_a_run_is_refused_and_not_changed(finished, csv, capsys):
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    assert call(train, "--data", csv, "--targets", "pH", *NANO, "--out", finished) == 2
    assert str(finished) in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def test_predict_refuses_scans_that_do_not_cover_the_model(finished, tmp_path, capsys):
    narrow = table().drop(columns=["1100", "1110", "1120", "1130"])
    narrow.to_csv(tmp_path / "narrow.csv", index=False)
    assert call(predict, finished, tmp_path / "narrow.csv", "--out", tmp_path / "p.csv") == 2
    error = capsys.readouterr().err
    assert "1140..2490 nm do not cover the model's 1100..2490 nm" in error
    assert "relple_tf.train --set front_end.start_nm=1140 --set front_end.stop_nm=2490" in error
    assert not (tmp_path / "p.csv").exists()


def test_predict_refuses_a_gap_in_the_range_of_the_model_but_interpolates_single_bands(finished, tmp_path, capsys):
    """The grid of the model has a step of 20 nm, and no band of the scan is within 20 nm of 1530 nm."""
    gap = [f"{nm}" for nm in range(1510, 1560, 10)]
    table().drop(columns=gap).to_csv(tmp_path / "gap.csv", index=False)
    assert call(predict, finished, tmp_path / "gap.csv", "--out", tmp_path / "p.csv") == 2
    assert "no band within 20 nm of 1530 nm, which the model reads (1 such wavelengths)" in capsys.readouterr().err
    assert not (tmp_path / "p.csv").exists()
    table().drop(columns=gap[:-1]).to_csv(tmp_path / "narrow.csv", index=False)
    assert call(predict, finished, tmp_path / "narrow.csv", "--out", tmp_path / "p.csv") == 0
    assert "interpolated from 136 bands to the model's 140" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("nm", "value", "words"),
    [(1500, "", "row 60 (id 60), column '1500' is empty"), (1500, 1.6, "row 60 is 1.6 at a band")],
)
def test_a_scan_that_cannot_be_a_soil_keeps_its_row_with_status_invalid(finished, tmp_path, capsys, nm, value, words):
    scans = table().astype(object)
    scans.loc[59, f"{nm}"] = value
    scans["id"] = range(1, 61)
    scans.to_csv(tmp_path / "scans.csv", index=False)
    assert call(predict, finished, tmp_path / "scans.csv", "--out", tmp_path / "p.csv") == 0
    assert words in capsys.readouterr().err
    predicted = pd.read_csv(tmp_path / "p.csv")
    assert predicted["id"].tolist() == list(range(1, 61))
    assert (predicted["status"] == "invalid").tolist() == [False] * 59 + [True]
    assert predicted.drop(columns=["id", "status"]).isna().all(axis=1).tolist() == [False] * 59 + [True]


@pytest.mark.parametrize(("chunk", "difference"), [(BATCH_SCANS, 0), (2 * BATCH_SCANS, 0), (7, 1e-4)])
def test_predictions_do_not_depend_on_the_length_of_the_chunks(finished, tmp_path, chunk, difference):
    """Bit for bit if chunks are multiples of the batch: the last digits of float32 depend on the length of a batch."""
    table(2 * BATCH_SCANS + 50).to_csv(tmp_path / "scans.csv", index=False)
    card = json.loads((finished / "card.json").read_text())
    model = keras.saving.load_model(finished / "model.keras")
    scans, estimate = open_scans(tmp_path / "scans.csv"), partial(estimates, model)
    single_chunk, notes = predict_scans(finished, card, scans, estimate)
    chunked, same_notes = predict_scans(finished, card, scans, estimate, chunk)
    pd.testing.assert_frame_equal(chunked, single_chunk, rtol=difference, atol=0)
    assert same_notes == notes


def test_predict_refuses_a_folder_without_a_manifest(tmp_path, csv, capsys):
    assert call(predict, tmp_path, csv) == 2
    assert "manifest.json" in capsys.readouterr().err


def test_predict_replaces_only_its_earlier_result(finished, csv, tmp_path, capsys):
    (tmp_path / "scans.csv").write_bytes(csv.read_bytes())
    (tmp_path / "notes.txt").write_text("mine")
    for out in (tmp_path / "scans.csv", tmp_path / "notes.txt", finished / "predictions.csv", finished / "p.csv"):
        assert call(predict, finished, tmp_path / "scans.csv", "--out", out) == 2
        assert f"--out {out}" in capsys.readouterr().err
    (tmp_path / "link.csv").symlink_to("p.csv")
    for _ in range(2):
        assert call(predict, finished, csv, "--out", tmp_path / "link.csv") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"scans.csv", "notes.txt", "link.csv", "p.csv"}
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "scans.csv").read_bytes() == csv.read_bytes()


def test_resuming_a_complete_run_only_removes_leftover_files(finished, capsys):
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    for name in ("checkpoint.npz", "fold-1.npz", ".unfinished-x.keras"):
        (finished / name).write_text("left by a killed process")
    with locked(finished):
        assert call(train, "--out", finished, "--resume") == 2
    assert f"{finished}: another command is at work in this folder" in capsys.readouterr().err
    assert call(train, "--out", finished, "--resume") == 0
    assert "nothing to resume" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


@pytest.mark.slow
def test_no_cell_of_a_run_or_of_predictions_is_a_formula(tmp_path):
    """Ids come from the author of the table; a run with the stored split finds the rows by the same ids."""
    ids = [f"=cmd|{row}" if row % 2 else f"-{row}" for row in range(60)]
    table(id=ids).to_csv(tmp_path / "soils.csv", index=False)
    data = ["--data", tmp_path / "soils.csv", "--targets", "pH", *NANO]
    assert call(train, *data, "--out", tmp_path / "run") == 0
    assert call(predict, tmp_path / "run", tmp_path / "soils.csv", "--out", tmp_path / "p.csv") == 0
    safe = [f"'{sample_id}" if sample_id.startswith("=") else sample_id for sample_id in ids]
    for path in (tmp_path / "run" / "split.csv", tmp_path / "run" / "predictions.csv", tmp_path / "p.csv"):
        assert list(pd.read_csv(path, dtype=str)["id"]) == safe
    assert all("=" not in line[:1] for line in (tmp_path / "run" / "outliers.csv").read_text().splitlines())
    split = f"--set=split.file={tmp_path / 'run' / 'split.csv'}"
    assert call(train, *data, split, "--out", tmp_path / "again") == 0
    assert (tmp_path / "again" / "split.csv").read_bytes() == (tmp_path / "run" / "split.csv").read_bytes()


def test_a_run_folder_below_a_file_is_refused(csv, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert call(train, "--data", csv, "--targets", "pH", *NANO, "--out", tmp_path / "file" / "run") == 2
    assert str(tmp_path / "file") in capsys.readouterr().err.splitlines()[-1]


def test_predict_converts_absorbance_to_the_reflectance_of_the_model(finished, tmp_path):
    frame = table()
    bands = [column for column in frame if column.isdigit()]
    frame[bands] = -np.log10(frame[bands])
    frame.to_csv(tmp_path / "absorbance.csv", index=False)
    assert call(predict, finished, tmp_path / "absorbance.csv", "--out", tmp_path / "p.csv") == 0
    stored = pd.read_csv(finished / "predictions.csv")
    np.testing.assert_allclose(pd.read_csv(tmp_path / "p.csv")["pH"], stored["pH_predicted"], rtol=1e-4)


def test_a_model_of_a_narrow_range_accepts_scans_of_that_range(csv, tmp_path):
    narrow = ["--set=front_end.start_nm=1300", "--set=front_end.stop_nm=2300", "--set=model.architecture=single_task"]
    assert call(train, "--data", csv, "--targets", "pH", *NANO, *narrow, "--out", tmp_path / "run") == 0
    scans = table().drop(columns=["1100", "1110", "2490"])
    scans.to_csv(tmp_path / "scans.csv", index=False)
    assert call(predict, tmp_path / "run", tmp_path / "scans.csv", "--out", tmp_path / "p.csv") == 0
    stored = pd.read_csv(tmp_path / "run" / "predictions.csv")
    predicted = pd.read_csv(tmp_path / "p.csv")
    # Without cross-validation there are no intervals.
    assert list(predicted) == ["id", "pH", "status"]
    np.testing.assert_allclose(predicted["pH"], stored["pH_predicted"], rtol=1e-5)
    assert list(predicted["status"]) == list(stored["status"])


def test_resuming_with_another_split_is_refused(tmp_path, capsys, monkeypatch):
    """Else training rows could become test rows."""
    from relple_tf.training import loop

    parts = ["train"] * 40 + ["val"] * 8 + ["test"] * 12
    path, out = tmp_path / "soils.csv", tmp_path / "run"
    table(split=parts).to_csv(path, index=False)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop.Monitor, "on_train_end", interrupt)
        assert call(train, "--data", path, "--targets", "pH", *NANO, "--out", out) == 130
    assert f"--out {out} --resume" in capsys.readouterr().err
    table(split=parts[::-1]).to_csv(path, index=False)
    assert call(train, "--out", out, "--resume") == 2
    assert "changed since" in capsys.readouterr().err.splitlines()[-1]


def test_a_full_disk_gives_one_error_line_and_no_run(csv, tmp_path, capsys, monkeypatch):
    from relple_tf import atomic_files

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_files.os, "fsync", full)
    assert call(train, "--data", csv, "--targets", "pH", *NANO, "--out", tmp_path / "run") == 2
    assert "No space left" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_a_killed_and_resumed_run_equals_an_uninterrupted_run_and_prints_its_metrics(finished, csv, tmp_path, capsys):
    """The run is killed while the final network is trained; for a kill between the folds see test_cross_fitting."""
    arguments, folder = ["--data", csv, "--targets", "OC_g_kg,pH", *CROSS_FITTED], tmp_path / "killed"
    command = [sys.executable, "-m", "relple_tf.train", *map(str, arguments), "--out", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (folder / "checkpoint.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (folder / "manifest.json").exists()

    assert call(train, *arguments, "--out", folder) == 2
    assert "--resume" in capsys.readouterr().err
    assert call(train, "--out", folder, "--resume") == 0
    assert {path.name for path in folder.iterdir()} == RUN_FILES
    for name in RUN_FILES - {"model.keras", "manifest.json"}:
        assert (folder / name).read_bytes() == (finished / name).read_bytes(), name
    printed = capsys.readouterr().out
    metrics = json.loads((finished / "metrics.json").read_text())
    for target in ("OC_g_kg", "pH"):
        for scores in (metrics["test"][target], metrics["baseline"]["plsr"][target]):
            assert f"{scores['rmse']:.3f}" in printed


@pytest.mark.parametrize("module", ["relple_tf.train", "relple_tf.predict", "relple_tf.select"])
def test_help_imports_nothing_slow(module):
    script = (
        "import sys, runpy\n"
        f"sys.argv = ['{module}', '--help']\n"
        "try:\n"
        f"    runpy.run_module('{module}', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print(end.code, sorted({'numpy', 'pandas', 'keras', 'tensorflow'} & set(sys.modules)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def curve_of(predicted, stored, target, need):
    """Point of the curve at a need, from the tables that predict and train wrote."""
    test = stored["part"] == "test"
    kept = (predicted[f"{target}_decision"] == "keep")[test]
    errors = (predicted[target] - stored[f"{target}_measured"])[test][kept]
    return kept.mean(), np.sqrt(np.mean(errors**2)), np.mean(np.abs(errors) > need)


def test_the_curve_in_the_card_equals_that_of_the_decisions(finished, csv, tmp_path):
    card = json.loads((finished / "card.json").read_text())
    stored = pd.read_csv(finished / "predictions.csv")
    for target in ("OC_g_kg", "pH"):
        points = card["targets"][target]["need_curve"]
        assert [point["need"] for point in points] == sorted({point["need"] for point in points})
        for point in points[1:]:
            need = point["need"]
            assert call(predict, finished, csv, "--out", tmp_path / "p.csv", "--need", f"{target}={need!r}") == 0
            kept, rmse, beyond = curve_of(pd.read_csv(tmp_path / "p.csv"), stored, target, need)
            assert point["kept"] == pytest.approx(kept)
            assert point["rmse"] == pytest.approx(rmse, rel=1e-4)
            assert point["beyond"] == pytest.approx(beyond)


@pytest.mark.parametrize(
    ("need", "named"),
    [
        ("", ["--need", "TARGET=WIDTH"]),
        ("OC_g_kg=3,OC_g_kg=4", ["OC_g_kg is given twice"]),
        ("OC_g_kg=-3", ["OC_g_kg", "finite number above 0", "-3"]),
        ("OC_g_kg=nan", ["finite number above 0", "nan"]),
        ("Au_ppm=3", ["has no target Au_ppm", "OC_g_kg, pH"]),
    ],
)
def test_a_wrong_need_is_refused_and_nothing_is_written(finished, csv, tmp_path, capsys, need, named):
    out = tmp_path / "p.csv"
    assert call(predict, finished, csv, "--out", out, "--need", need) == 2
    check_refusal(capsys, named, out)


def test_a_run_without_intervals_cannot_decide(csv, tmp_path, capsys):
    assert call(train, "--data", csv, "--targets", "OC_g_kg,pH", *NANO, "--out", tmp_path / "run") == 0
    capsys.readouterr()
    assert call(predict, tmp_path / "run", csv, "--out", tmp_path / "p.csv", "--need", "pH=1") == 2
    check_refusal(capsys, ["pH has no prediction interval", "training.cv_folds is 0"], tmp_path / "p.csv")
