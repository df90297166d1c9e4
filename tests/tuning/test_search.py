"""The command `tuning.search`: its files, resuming, refusals; the data of a trial; estimates of size."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import CONFIG
from tuning_jobs import toy

from relple_tf.command_line import run
from relple_tf.config import replace
from relple_tf.config_text import from_toml
from relple_tf.models.network_spec import NetworkSpec
from relple_tf.runs.folder import locked
from relple_tf.spectra.splitting.parts import divide
from relple_tf.training import stacking
from relple_tf.training.cross_fitting import DivergedError
from relple_tf.zoo import PRESETS
from tuning import objective
from tuning import search as command
from tuning.objective import development_set, score
from tuning.result import front
from tuning.size import graph_size, peak_bytes, size
from tuning.space import TrialRules

HERE = Path(__file__).parents[1]
TINY = ["front_end.step_nm=40", "front_end.derivative_window_nm=120", "front_end.whitened_components=5"]
TINY += ["model.expert_kind=cnn", "training.max_epochs=9", "simulated.soils=60", "simulated.step_nm=20"]
DATA = ["--data", "simulated", "--targets", "CEC_cmolc_kg,pH", "--preset", "rs_ple_nano"]
DATA += [f"--set={field}" for field in TINY]
SPACE = """
[trial]
folds = 2
[model]
architecture = "ple"
levels = 1
task_experts = 1
shared_experts = [0, 1]
stem = "shared"
expert_kind = "cnn"
conv_filters = [[3], [4]]
basis_units = 0
[front_end]
views = ["snv_d1"]
"""
FILES = {
    "best.toml",
    "config.toml",
    "journal.json",
    "manifest.json",
    "plan.json",
    "search.html",
    "space.toml",
    "trials.csv",
}


def call(*arguments):
    """Run the command in this process; returns its exit code."""
    with pytest.raises(SystemExit) as exit_:
        run(command.main, [str(argument) for argument in arguments])
    return exit_.value.code


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    path = tmp_path_factory.mktemp("space") / "space.toml"
    path.write_text(SPACE, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    """The objective is `toy` unless a test sets another."""
    monkeypatch.setattr(objective, "score", toy)


def table_of(folder):
    """trials.csv without its columns of times."""
    return pd.read_csv(folder / "trials.csv").drop(columns=["seconds", "ended_s"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, space):
    folder = tmp_path_factory.mktemp("runs") / "search"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(objective, "score", toy)
        assert call(*DATA, "--space", space, "--trials", 10, "--workers", 0, "--out", folder) == 0
    return folder


def test_a_search_writes_its_files_and_the_best_config(finished, capsys):
    assert {path.name for path in finished.iterdir()} == FILES
    table = pd.read_csv(finished / "trials.csv")
    assert list(table["trial"]) == list(range(10))
    np.testing.assert_allclose(table["score"], table[["r2_a", "r2_b"]].mean(axis=1))
    winner = table.loc[table["score"].idxmax()]
    best = from_toml(finished / "best.toml")
    base = from_toml(finished / "config.toml")
    assert best.training.learning_rate == pytest.approx(winner["training.learning_rate"], rel=1e-12)
    assert best.model.expert_units == winner["model.expert_units"]
    assert best.data == base.data
    assert best.split == base.split
    assert winner["score"] > table["score"][0]
    assert capsys.readouterr().out == ""


def test_the_page_has_every_section_and_names_the_estimates(finished):
    page = (finished / "search.html").read_text(encoding="utf-8")
    assert page.count("<img") == 7
    for text in (
        "side by side",
        "Importance of the fields",
        "Pareto",
        "estimate",
        "not a measured time",
        "The test part of the split was not read",
    ):
        assert text in page
    assert "$" not in page.partition("Versions and data")[0]
    best = pd.read_csv(finished / "trials.csv")["score"].max()
    assert f"{best:.3f}" in page


def test_a_search_resumed_after_ctrl_c_equals_an_uninterrupted_one(finished, space, tmp_path, monkeypatch, capsys):
    folder, calls = tmp_path / "interrupted", []

    def stopped(shared, config):
        calls.append(config)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return toy(shared, config)

    monkeypatch.setattr(objective, "score", stopped)
    assert call(*DATA, "--space", space, "--trials", 10, "--workers", 0, "--out", folder) == 130
    assert f"python -m tuning.search --out {folder} --resume" in capsys.readouterr().err
    assert not (folder / "best.toml").exists()
    (folder / ".unfinished-x.json").write_text("half")
    monkeypatch.setattr(objective, "score", toy)

    assert call(*DATA, "--space", space, "--trials", 10, "--out", folder) == 2
    assert "--resume" in capsys.readouterr().err
    assert call(*DATA, "--space", space, "--trials", 11, "--out", folder, "--resume") == 2
    assert "another plan (trials differ)" in capsys.readouterr().err
    with locked(folder):
        assert call("--out", folder, "--resume", "--workers", 0) == 2
    assert "another command is at work in this folder" in capsys.readouterr().err

    assert call("--out", folder, "--resume", "--workers", 0) == 0
    assert {path.name for path in folder.iterdir()} == FILES
    pd.testing.assert_frame_equal(table_of(folder), table_of(finished))
    assert (folder / "best.toml").read_bytes() == (finished / "best.toml").read_bytes()
    before = (folder / "trials.csv").read_bytes()
    assert call("--out", folder, "--resume") == 0
    assert "nothing to resume" in capsys.readouterr().err
    assert (folder / "trials.csv").read_bytes() == before


def test_a_killed_search_leaves_no_process_and_can_be_resumed(space, tmp_path, capsys, monkeypatch):
    """After kill -9 every finished trial is kept; before it, a second search in the same folder is refused."""
    folder = tmp_path / "killed"
    arguments = [*DATA, "--space", str(space), "--trials", "8", "--workers", "2", "--algorithm", "random"]
    paths = os.pathsep.join([str(HERE), str(HERE.parent)])
    with subprocess.Popen(
        [sys.executable, str(HERE / "tuning_jobs.py"), "slow_toy", *arguments, "--out", str(folder)],
        env=os.environ | {"PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        text=True,
    ) as driver:
        results = []
        for line in driver.stderr:
            results += [line] * ("; best " in line)
            if len(results) == 3:
                break
        children = children_of(driver.pid)
        assert call("--out", folder, "--resume") == 2
        assert "another command is at work" in capsys.readouterr().err
        driver.send_signal(signal.SIGKILL)
    assert len(children) >= 2
    until = time.monotonic() + 10
    while any(alive(child) for child in children) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(alive(child) for child in children)

    ended = {event["end"]: event for event in json.loads((folder / "journal.json").read_text()) if "end" in event}
    assert len(ended) >= 3
    monkeypatch.setattr(objective, "score", toy)
    assert call("--out", folder, "--resume", "--workers", 0) == 0
    table = pd.read_csv(folder / "trials.csv").set_index("trial")
    assert len(table) == 8
    assert (table["state"] == "done").all()
    for number, event in ended.items():
        assert table.loc[number, "seconds"] == event["seconds"]
        assert table.loc[number, "ended_s"] == event["ended_s"]


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_no_trial_but_trial_0_exceeds_the_budget_and_the_page_counts_the_rejected_draws(space, tmp_path, finished):
    """The limit is the lower quartile of a search without a limit."""
    limit = int(pd.read_csv(finished / "trials.csv")["flash_bytes"].quantile(0.25))
    folder = tmp_path / "small"
    flags = ["--algorithm", "random", "--workers", 0, "--max-flash", limit]
    assert call(*DATA, "--space", space, "--trials", 6, *flags, "--out", folder) == 0
    table = pd.read_csv(folder / "trials.csv")
    assert len(table) == 6
    assert (table["flash_bytes"][1:] <= limit).all()
    rejected = json.loads((folder / "journal.json").read_text())[-2]["rejected"]
    assert rejected > 0
    assert f"{rejected} draws were over the budget" in (folder / "search.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--algorithm", "luck"], "bayesian, random, hyperband, grid"),
        (["--trials", "1"], "at least 2"),
        (["--trials", "many"], "--trials"),
        (["--workers", "-1"], "--workers -1"),
        (["--max-flash", "huge"], "256KiB"),
        (["--max-arena", "0"], "above 0"),
        (["--space", "nowhere.toml"], "nowhere.toml"),
        (["--preset", "rs_ple_tiny"], "rs_ple_tiny"),
        (["--workers", "2", "--ray", "auto"], "not allowed with"),
        (["--data", "nowhere.csv"], "nowhere.csv"),
        (["--resume", "--out", "nowhere"], "holds no search"),
    ],
)
def test_a_wrong_command_is_refused_in_one_line(arguments, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_search_is_refused(tmp_path, finished, capsys):
    (tmp_path / "config.toml").write_bytes((finished / "config.toml").read_bytes())
    (tmp_path / "checkpoint.npz").touch()
    assert call("--resume", "--out", tmp_path) == 2
    assert "holds no search to resume" in capsys.readouterr().err
    assert call(*DATA, "--out", finished) == 2
    assert "give another --out" in capsys.readouterr().err


@pytest.mark.slow
def test_a_search_killed_before_its_plan_was_written_starts_again(tmp_path, finished, space, capsys):
    for name in ("config.toml", "space.toml"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    (tmp_path / "journal.json").write_text("[]\n")
    assert call("--out", tmp_path, "--resume") == 2
    assert "interrupted before its plan was written; repeat its command with --resume" in capsys.readouterr().err
    flags = ["--space", space, "--trials", 10, "--workers", 0]
    assert call(*DATA, *flags, "--out", tmp_path, "--resume") == 0
    assert {path.name for path in tmp_path.iterdir()} == FILES
    pd.testing.assert_frame_equal(table_of(tmp_path), table_of(finished))


def test_the_command_imports_no_slow_package_before_it_parses():
    packages = "keras", "tensorflow", "ray", "keras_tuner", "numpy"
    code = f"import sys, tuning.search; print([n for n in {packages!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE.parent)
    assert done.stdout.strip() == "[]"


# The data of a trial.


def data_of(library, rules=TrialRules(folds=2)):  # noqa: B008
    return development_set(library, CONFIG, rules)[0]


def test_the_data_of_a_trial_do_not_depend_on_the_test_part(library):
    """Other spectra and values in the test rows change neither rows nor scales."""
    config = replace(CONFIG, split__method="random")
    parts, _ = divide(library, config)
    test = parts == "test"
    other = dataclasses.replace(
        library,
        spectra=np.where(test[:, None], library.spectra[::-1], library.spectra),
        targets={name: np.where(test, 1.5 * values, values) for name, values in library.targets.items()},
    )
    data, data_of_other = (development_set(rows, config, TrialRules(folds=2))[0] for rows in (library, other))
    assert len(data.library) == (~test).sum()
    assert data.library.parts is None
    np.testing.assert_array_equal(data.library.spectra, data_of_other.library.spectra)
    np.testing.assert_array_equal(data.library.ids, library.ids[~test])
    assert data.scales == data_of_other.scales
    for name, values in data.library.targets.items():
        np.testing.assert_array_equal(values, data_of_other.library.targets[name])


@pytest.mark.slow
def test_a_repeated_trial_has_the_same_score(library):
    """With the real objective, although other networks were trained in this process before."""
    data = data_of(library)
    first = score(data, CONFIG)
    assert set(first) == set(library.targets)
    assert all(value < 1 for value in first.values())
    assert score(data, CONFIG) == first


def test_inner_folds_keep_groups_whole_where_the_split_does(library):
    groups = np.array([f"field{row // 6}" for row in range(len(library))])
    grouped = dataclasses.replace(library, groups=groups, parts=None)
    assert data_of(grouped).library.groups is not None
    divided = np.where(np.arange(len(library)) % 6 == 1, "test", "train")
    assert data_of(dataclasses.replace(grouped, parts=divided)).library.groups is None


def test_predictions_that_are_not_finite_raise_diverged_error(library, monkeypatch):
    finite = stacking.Members.predictions.fget
    monkeypatch.setattr(stacking.Members, "predictions", property(lambda members: finite(members) * np.nan))
    with pytest.raises(DivergedError, match="OC_g_kg are not finite"):
        score(data_of(library), replace(CONFIG, training__max_epochs=1))


# Estimates of size.


def graph():
    """Convolution, LSTM and dense layers in sequence; the last layer reads LSTM and dense layer."""
    x = keras.Input((6, 2), name="in")
    a = keras.layers.Conv1D(3, 2, strides=2, padding="same", name="a")(x)  # (3, 3)
    b = keras.layers.LSTM(4, name="b")(a)  # (4,)
    c = keras.layers.Dense(5, name="c")(b)
    d = keras.layers.Concatenate(name="d")([b, c])  # (9,)
    return keras.Model(x, keras.layers.Dense(1, name="e")(d))


def test_multiplications_and_weights_equal_those_counted_by_hand():
    estimate = graph_size(graph(), unrolled=False)
    convolution, recurrent = 3 * (2 * 2 * 3), 3 * (3 * 16 + 4 * 16)
    assert estimate.operations == convolution + recurrent + 4 * 5 + 9
    assert estimate.weights == (12 + 3) + (48 + 64 + 16) + (20 + 5) + (9 + 1)


@pytest.mark.parametrize(("preset", "flash_kib", "arena_kib"), [("rs_ple_nano", 80, 42), ("rs_ple_small", 212, 68)])
def test_the_estimated_sizes_of_microcontroller_presets_agree_with_the_readme(preset, flash_kib, arena_kib):
    """700 bands and three targets, as in NIRsoil; the README holds the sizes of the exported files."""
    correlation = np.array([[1.0, 0.8, 0.4], [0.8, 1.0, 0.3], [0.4, 0.3, 1.0]])
    spec = NetworkSpec(
        bands=1, channels=1, components=1, views=((0,),), targets=("N", "OC", "CEC"), correlation=correlation
    )
    estimate = size(PRESETS[preset](), spec, np.arange(1100.0, 2500.0, 2.0), 618)
    assert 0.6 * flash_kib < estimate.flash_bytes / 1024 < flash_kib
    # The error of the arena estimate is a few percent.
    assert arena_kib / 2 < estimate.arena_bytes / 1024 < 1.05 * arena_kib


def test_the_peak_is_the_largest_sum_of_tensors_alive_at_once():
    """Input 12 + convolution 9; later LSTM 4 + dense 5 + concatenation 9."""
    network = graph()
    nodes = [node for node in network.operations if not isinstance(node, keras.layers.InputLayer)]
    assert peak_bytes(nodes, network.outputs) == 21
    assert peak_bytes(nodes[2:], network.outputs) == 4 + 5 + 9


def test_the_front_holds_exactly_the_trials_that_no_other_dominates():
    rng = np.random.default_rng(0)
    costs, scores = rng.integers(1, 8, 60).astype(float), rng.integers(0, 9, 60) / 10
    on_front = front(costs, scores)
    dominated = [
        any(
            (costs[j] <= costs[i] and scores[j] >= scores[i]) and (costs[j] < costs[i] or scores[j] > scores[i])
            for j in range(60)
        )
        for i in range(60)
    ]
    pairs = {(costs[i], scores[i]) for i in range(60) if not dominated[i]}
    assert {(costs[i], scores[i]) for i in on_front} == pairs
    assert len(on_front) == len(pairs)
