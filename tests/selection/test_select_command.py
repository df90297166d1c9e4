"""Laws of the command select and of the function behind it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from relple_tf import select as command
from relple_tf import train
from relple_tf.command_line import run
from relple_tf.config import SimulatedConfig
from relple_tf.errors import InputError
from relple_tf.prediction.saved import load
from relple_tf.selection import select, selecting
from relple_tf.selection.calibrated_run import CalibratedRun
from relple_tf.selection.methods import METHODS
from relple_tf.selection.plot import selection_png
from relple_tf.selection.reading import read_candidates
from relple_tf.selection.selecting import CLOSE
from relple_tf.spectra.sources.simulated import simulate

FIELDS = ["--preset=rs_ple_nano"] + [
    f"--set={field}"
    for field in (
        *("training.cv_folds=2", "training.max_epochs=3", "training.batch_size=16", "training.workers=1"),
        *("front_end.step_nm=20", "front_end.derivative_window_nm=60", "front_end.whitened_components=5"),
        *("model.architecture=shared_bottom", "model.expert_kind=cnn"),
    )
]


def call(*arguments, of=command):
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as exit_:
        run(of.main, [str(argument) for argument in arguments])
    return exit_.value.code


def soils(rows=40, seed=1):
    return replace(simulate(SimulatedConfig(soils=rows, step_nm=10.0, seed=seed)), targets={}, notes=())


def scan_table(library, **columns):
    frame = pd.DataFrame(library.spectra, columns=[f"{nm:g}" for nm in library.wavelengths_nm])
    return pd.concat([pd.DataFrame({"id": library.ids, **columns}), frame], axis=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 60 simulated soils, seed 0."""
    folder = tmp_path_factory.mktemp("selection")
    library = simulate(SimulatedConfig(soils=60, step_nm=10.0))
    scan_table(library, OC_g_kg=library.targets["OC_g_kg"], pH=library.targets["pH"]).to_csv(
        folder / "soils.csv", index=False
    )
    assert call("--data", folder / "soils.csv", *FIELDS, "--out", folder / "run", of=train) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def known(trained):
    return CalibratedRun.read(trained)


@pytest.fixture
def scans(tmp_path):
    path = tmp_path / "scans.csv"
    scan_table(soils(), field=[f"F{row // 10}" for row in range(40)]).to_csv(path, index=False)
    return path


def test_the_table_and_the_picture(scans, tmp_path, capsys):
    out = tmp_path / "selected.csv"
    assert call(scans, "--count", 8, "--out", out) == 0
    table = pd.read_csv(out)
    assert list(table) == ["id", "order", "reason", "represents", "distance"]
    assert table["order"].tolist() == list(range(1, 9))
    assert table["represents"].sum() == 40
    assert (tmp_path / "selected.png").read_bytes().startswith(b"\x89PNG")
    assert "8 samples" in capsys.readouterr().err
    assert call(scans, "--count", 8) == 0
    assert capsys.readouterr().out == out.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"scans.csv", "selected.csv", "selected.png"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("with_run", [False, True], ids=["alone", "run"])
def test_the_selection_does_not_depend_on_the_order_of_the_rows(method, with_run, known):
    library = soils()
    order = np.random.default_rng(0).permutation(40)
    first, second = (
        select(rows, 6, run=known if with_run else None, method=method) for rows in (library, library.rows(order))
    )
    pd.testing.assert_frame_equal(first.table, second.table)
    assert selection_png(first) == selection_png(second)


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_with_replicate_scans_is_selected_once(method):
    library = soils()
    noisy = library.spectra + np.random.default_rng(0).normal(0, 1e-3, library.spectra.shape).astype("float32")
    twice = replace(
        library,
        spectra=np.concatenate([library.spectra, noisy]),
        ids=np.tile(library.ids, 2),
        scans=np.array([f"scan{row}" for row in range(80)]),
    )
    table = select(twice, 40, method=method).table
    assert sorted(table["id"]) == sorted(library.ids)
    assert table["represents"].tolist() == [1] * 40
    row = library.ids.tolist().index(table["id"][0])
    assert table["scan"][0] == "; ".join(sorted([f"scan{row}", f"scan{row + 40}"]))
    with pytest.raises(InputError, match="expected 1 to 40, its samples; received 41"):
        select(twice, 41, method=method)


def test_scans_that_differ_in_their_number_are_one_sample_if_their_spectra_agree(tmp_path):
    library = soils()
    table = pd.concat([scan_table(replace(library, ids=np.array([f"{i}_{n}" for i in library.ids]))) for n in (1, 2)])
    bands = [name for name in table if name != "id"]
    table.loc[table["id"].str.endswith("_2"), bands] *= 1.001
    table.to_csv(tmp_path / "scans.csv", index=False)
    read = read_candidates(tmp_path / "scans.csv")
    assert len(np.unique(read.sample_labels)) == 40
    second = table["id"].str.endswith("_2")
    table.loc[second, bands] = np.roll(table.loc[second, bands].to_numpy(), 7, axis=0)  # scans of other soils
    table.to_csv(tmp_path / "scans.csv", index=False)
    read = read_candidates(tmp_path / "scans.csv")
    assert len(np.unique(read.sample_labels)) == 80
    assert any("count as different samples" in note for note in read.notes)


def test_soils_that_are_numbered_are_different_samples(tmp_path):
    """A field whose soils are `a_1`, `a_2`, ...: some of them have nearly equal spectra."""
    library = soils()
    spectra = library.spectra.copy()
    spectra[1::2] = 1.001 * spectra[::2]
    named = replace(library, spectra=spectra, ids=np.array([f"a_{row}" for row in range(1, 41)]))
    scan_table(named).to_csv(tmp_path / "scans.csv", index=False)
    assert len(np.unique(read_candidates(tmp_path / "scans.csv").sample_labels)) == 40


def test_samples_close_to_the_calibration_set_are_passed_over(known):
    library = soils()
    both = replace(
        library,
        spectra=np.concatenate([known.calibration.spectra, library.spectra]),
        ids=np.array([f"known{row}" for row in range(60)] + [f"new{row}" for row in range(40)]),
    )
    selection = select(both, 10, run=known)
    assert selection.table["id"].str.startswith("new").all()
    assert (selection.table["calibration_distance"] > CLOSE).all()
    assert selection.passed_over.sum() >= 60
    assert any("close to a soil" in note for note in selection.notes)
    everything = select(both, 100, run=known)
    assert len(everything.table) == 100 - selection.passed_over.sum()
    assert any("only" in note for note in everything.notes)
    with pytest.raises(InputError, match="received none: 60 of 60 samples are close"):
        select(both.rows(np.arange(60)), 5, run=known)


def test_wide_intervals_are_preferred(known):
    library = soils(80)
    candidates = select(library, 80, run=known).table
    few = select(library, 5, run=known).table
    assert few["widest_interval"].min() >= candidates["widest_interval"].median()
    most = len(candidates) - 3
    kept = candidates["id"].isin(select(library, most, run=known).table["id"])
    assert kept.sum() == most
    assert candidates["widest_interval"][~kept].max() <= candidates["widest_interval"][kept].min()


def test_statuses_and_intervals_are_those_of_predict(trained, known):
    library = soils()
    table = select(library, 10, run=trained).table.set_index("id")
    model = load(trained)
    predicted = model.predict(library.spectra, wavelengths_nm=library.wavelengths_nm, quantity="reflectance")
    predicted.index = library.ids
    stored = known.calibration.targets
    for name, row in table.iterrows():
        assert row["status"] == predicted["status"][name]
        target = row["widest_target"]
        width = predicted[f"{target}_high"][name] - predicted[f"{target}_low"][name]
        assert row["widest_interval"] == pytest.approx(width / np.std(stored[target]), rel=1e-3)


def test_samples_of_status_invalid_are_never_selected(known, monkeypatch):
    assess = CalibratedRun.assess

    def with_invalid(self, ready):
        assessed = assess(self, ready)
        assessed.loc[::2, "status"] = "invalid"
        assessed.loc[::2, "widest_interval"] = np.nan
        return assessed

    monkeypatch.setattr(CalibratedRun, "assess", with_invalid)
    selection = select(soils(), 40, run=known)
    assert not (selection.table["status"] == "invalid").any()
    assert any("20 of 40 samples have status invalid" in note for note in selection.notes)


def test_scans_that_cannot_be_soils_are_not_selected(tmp_path, capsys):
    frame = scan_table(soils())
    bands = [name for name in frame if name != "id"]
    frame[bands] = frame[bands].astype(float)
    frame.loc[:3, bands] = 0.0
    frame.to_csv(tmp_path / "scans.csv", index=False)
    assert call(tmp_path / "scans.csv", "--count", 36, "--out", tmp_path / "s.csv") == 0
    assert "4 scans were dropped" in capsys.readouterr().err
    assert not set(pd.read_csv(tmp_path / "s.csv")["id"]) & set(frame["id"][:4])
    assert call(tmp_path / "scans.csv", "--count", 37) == 2


def test_the_selection_is_spread_over_the_groups(scans, tmp_path):
    assert call(scans, "--count", 8, "--group", "field", "--out", tmp_path / "s.csv") == 0
    table = pd.read_csv(tmp_path / "s.csv")
    assert table["group"].value_counts().to_dict() == {"F0": 2, "F1": 2, "F2": 2, "F3": 2}
    groups = pd.read_csv(scans, index_col="id")["field"]
    assert (groups[table["id"]].to_numpy() == table["group"]).all()


def test_scans_of_a_sample_in_two_groups_are_refused():
    library = soils(10)
    groups = np.array([f"g{row}" for row in range(10)])
    twice = replace(library, ids=np.array(["a", "a", *library.ids[2:]]), groups=groups)
    with pytest.raises(InputError, match="scans of sample a in one group"):
        select(twice, 3, by_group=True)


def test_few_or_equal_scans_are_selected():
    library = soils(3)
    for count in (1, 2, 3):
        assert len(select(library, count).table) == count
    assert len(select(library.rows(np.array([0])), 1).table) == 1
    equal = replace(library, spectra=np.repeat(library.spectra[:1], 3, axis=0))
    assert sorted(select(equal, 3).table["id"]) == sorted(library.ids)


REFUSED = {
    "no sample": (["--count", 0], "--count: expected 1 or more, received 0"),
    "too many": (["--count", 41], "expected 1 to 40, its samples; received 41"),
    "no number": (["--count", "many"], "--count"),
    "unknown method": (["--count", 5, "--method", "best"], "k_medoids, kennard_stone, latin_hypercube"),
    "unknown group": (["--count", 5, "--group", "plot"], "'plot'"),
    "no run": (["--count", 5, "--run", "no/run"], "no/run"),
}


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_command_is_refused_in_one_line(arguments, words, scans, tmp_path, capsys):
    assert call(scans, *arguments, "--out", tmp_path / "s.csv") == 2
    check_refusal(capsys, words, scans, tmp_path)


def check_refusal(capsys, words, scans, folder):
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert words in printed.err
    assert set(folder.iterdir()) <= {scans, folder / "run"}


def test_a_missing_table_is_refused_in_one_line(tmp_path, capsys):
    assert call(tmp_path / "none.csv", "--count", 5, "--out", tmp_path / "s.csv") == 2
    check_refusal(capsys, "none.csv", tmp_path / "none.csv", tmp_path)


def test_scans_that_do_not_cover_the_model_are_refused_in_one_line(trained, tmp_path, capsys):
    library = soils()
    short = library.wavelengths_nm > 1500
    path = tmp_path / "scans.csv"
    scan_table(
        replace(library, spectra=library.spectra[:, short], wavelengths_nm=library.wavelengths_nm[short])
    ).to_csv(path, index=False)
    assert call(path, "--count", 5, "--run", trained, "--out", tmp_path / "s.csv") == 2
    check_refusal(capsys, "do not cover the model's", path, tmp_path)


@pytest.mark.parametrize("name", ["model.keras", "data.npz", "card.json"])
def test_a_damaged_run_is_refused_in_one_line(name, trained, scans, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    for path in trained.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert call(scans, "--count", 5, "--run", folder, "--out", tmp_path / "s.csv") == 2
    check_refusal(capsys, name, scans, tmp_path)


def test_only_earlier_results_are_replaced(scans, trained, tmp_path, capsys):
    out = tmp_path / "s.csv"
    for arguments in (["--count", 5], ["--count", 6, "--group", "field", "--run", trained], ["--count", 7]):
        assert call(scans, *arguments, "--out", out) == 0
    assert len(pd.read_csv(out)) == 7
    table, picture = out.read_bytes(), out.with_suffix(".png").read_bytes()
    (tmp_path / "other.csv").write_text("id,order\n1,2\n")
    (tmp_path / "mine.png").write_bytes(b"\x89PNG\r\n\x1a\n of another program")
    refused = (tmp_path / "other.csv", tmp_path / "mine.csv", scans, tmp_path / "s.png", trained / "s.csv")
    capsys.readouterr()
    for path in refused:
        assert call(scans, "--count", 5, "--run", trained, "--out", path) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert (out.read_bytes(), out.with_suffix(".png").read_bytes()) == (table, picture)
    assert (tmp_path / "mine.png").read_bytes().endswith(b"of another program")
    assert not (tmp_path / "mine.csv").exists()


def test_a_device_has_no_picture(scans, tmp_path):
    assert call(scans, "--count", 5, "--out", "/dev/null") == 0
    assert not Path("/dev/null.png").exists()


@pytest.mark.parametrize(("count", "rows"), [(2, [1, 2, 4]), (4, [1, 2, 3, 4]), (5, [0, 1, 2, 3, 4])])
def test_the_wider_half_has_the_intervals_from_the_median_on_and_more_if_needed(count, rows):
    assert selecting._wider_half(np.array([1.0, 5.0, 3.0, 2.0, 4.0]), count).tolist() == rows
