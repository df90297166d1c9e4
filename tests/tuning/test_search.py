"""`tuning.search` from the outside: what it leaves, takes up again and refuses; and what a trial may see."""

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
from relple_tf.training import cross_fitting
from relple_tf.training.cross_fitting import DivergedError
from relple_tf.zoo import PRESETS
from tuning import objective
from tuning import search as command
from tuning.objective import development_set, score
from tuning.result import front
from tuning.size import of_graph, peak_bytes, size
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
    """Run the command as a shell would, in this process; give its exit code."""
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
    """Trials are toys unless a test says otherwise."""
    monkeypatch.setattr(objective, "score", toy)


def table_of(folder):
    """trials.csv without what time decides."""
    return pd.read_csv(folder / "trials.csv").drop(columns=["seconds", "ended_s"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, space):
    folder = tmp_path_factory.mktemp("runs") / "search"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(objective, "score", toy)
        assert call(*DATA, "--space", space, "--trials", 10, "--workers", 0, "--out", folder) == 0
    return folder


def test_a_search_leaves_its_files_and_the_best_config(finished, capsys):
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


def test_the_page_has_every_part_and_says_what_is_an_estimate(finished):
    page = (finished / "search.html").read_text(encoding="utf-8")
    assert page.count("<img") == 7
    for part in (
        "side by side",
        "depends on",
        "Pareto",
        "estimate",
        "not a measured time",
        "The test part of the split was not read",
    ):
        assert part in page
    assert "$" not in page.partition("For the record")[0]
    best = pd.read_csv(finished / "trials.csv")["score"].max()
    assert f"{best:.3f}" in page


def test_cut_off_by_ctrl_c_and_resumed_ends_like_one_that_was_not(finished, space, tmp_path, monkeypatch, capsys):
    folder, count = tmp_path / "cut", []

    def stopped(shared, config):
        count.append(config)
        if len(count) == 6:
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
    assert "began otherwise (trials differ)" in capsys.readouterr().err
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


def test_a_killed_driver_leaves_a_search_to_resume_and_no_process(space, tmp_path, capsys, monkeypatch):
    """kill -9; while it runs, another search in its folder is refused; every finished trial is kept."""
    folder = tmp_path / "killed"
    arguments = [*DATA, "--space", str(space), "--trials", "8", "--workers", "2", "--algorithm", "random"]
    paths = os.pathsep.join([str(HERE), str(HERE.parent)])
    with subprocess.Popen(
        [sys.executable, str(HERE / "tuning_jobs.py"), "slow_toy", *arguments, "--out", str(folder)],
        env=os.environ | {"PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        text=True,
    ) as driver:
        ended = []
        for line in driver.stderr:
            ended += [line] * ("; best " in line)
            if len(ended) == 3:
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

    kept = {event["end"]: event for event in json.loads((folder / "journal.json").read_text()) if "end" in event}
    assert len(kept) >= 3
    monkeypatch.setattr(objective, "score", toy)
    assert call("--out", folder, "--resume", "--workers", 0) == 0
    table = pd.read_csv(folder / "trials.csv").set_index("trial")
    assert len(table) == 8
    assert (table["state"] == "done").all()
    for number, event in kept.items():
        assert table.loc[number, "seconds"] == event["seconds"]
        assert table.loc[number, "ended_s"] == event["ended_s"]


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_budget_is_kept_and_told(space, tmp_path, finished, capsys):
    """The lower quartile of an unlimited search as the limit."""
    limit = int(pd.read_csv(finished / "trials.csv")["flash_bytes"].quantile(0.25))
    folder = tmp_path / "small"
    flags = ["--algorithm", "random", "--workers", 0, "--max-flash", limit]
    assert call(*DATA, "--space", space, "--trials", 6, *flags, "--out", folder) == 0
    table = pd.read_csv(folder / "trials.csv")
    assert len(table) == 6
    assert (table["flash_bytes"][1:] <= limit).all()
    rejected = json.loads((folder / "journal.json").read_text())[-2]["rejected"]
    assert rejected > 0
    assert f"{rejected} draws were over it" in (folder / "search.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
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
def test_a_wrong_command_is_refused_in_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(*arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_refused(tmp_path, finished, capsys):
    (tmp_path / "config.toml").write_bytes((finished / "config.toml").read_bytes())
    (tmp_path / "checkpoint.npz").touch()
    assert call("--resume", "--out", tmp_path) == 2
    assert "holds no search to resume" in capsys.readouterr().err
    assert call(*DATA, "--out", finished) == 2
    assert "give another --out" in capsys.readouterr().err


def test_a_search_that_was_killed_before_its_plan_is_begun_again(tmp_path, finished, space, capsys):
    for name in ("config.toml", "space.toml"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    (tmp_path / "journal.json").write_text("[]\n")
    assert call("--out", tmp_path, "--resume") == 2
    assert "was interrupted before its plan was written; repeat its command with --resume" in capsys.readouterr().err
    flags = ["--space", space, "--trials", 10, "--workers", 0]
    assert call(*DATA, *flags, "--out", tmp_path, "--resume") == 0
    assert {path.name for path in tmp_path.iterdir()} == FILES
    pd.testing.assert_frame_equal(table_of(tmp_path), table_of(finished))


def test_help_and_refusals_import_nothing_slow():
    names = "keras", "tensorflow", "ray", "keras_tuner", "numpy"
    code = f"import sys, tuning.search; print([n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE.parent)
    assert done.stdout.strip() == "[]"


# What a trial sees and says.


def soils_of(library, rules=TrialRules(folds=2)):  # noqa: B008
    return development_set(library, CONFIG, rules)[0]


def test_a_trial_never_sees_the_test_part(library):
    """Other spectra and values of the test rows change nothing that a trial is given."""
    config = replace(CONFIG, split__method="random")
    parts, _ = divide(library, config)
    test = parts == "test"
    other = dataclasses.replace(
        library,
        spectra=np.where(test[:, None], library.spectra[::-1], library.spectra),
        targets={name: np.where(test, 1.5 * values, values) for name, values in library.targets.items()},
    )
    one, two = (development_set(soils, config, TrialRules(folds=2))[0] for soils in (library, other))
    assert len(one.library) == (~test).sum()
    assert one.library.parts is None
    np.testing.assert_array_equal(one.library.spectra, two.library.spectra)
    np.testing.assert_array_equal(one.library.ids, library.ids[~test])
    assert one.scales == two.scales
    for name, values in one.library.targets.items():
        np.testing.assert_array_equal(values, two.library.targets[name])


def test_a_config_has_one_score(library):
    """By the real objective: what was trained before in this process changes nothing."""
    soils = soils_of(library)
    found = score(soils, CONFIG)
    assert set(found) == set(library.targets)
    assert all(value < 1 for value in found.values())
    assert score(soils, CONFIG) == found


def test_groups_stay_whole_in_the_inner_folds_where_the_split_kept_them(library):
    groups = np.array([f"field{row // 6}" for row in range(len(library))])
    grouped = dataclasses.replace(library, groups=groups, parts=None)
    assert soils_of(grouped).library.groups is not None
    divided = np.where(np.arange(len(library)) % 6 == 1, "test", "train")
    assert soils_of(dataclasses.replace(grouped, parts=divided)).library.groups is None


def test_estimates_that_are_not_finite_are_no_score(library, monkeypatch):
    whole = cross_fitting.stacked_by_weight
    monkeypatch.setattr(cross_fitting, "stacked_by_weight", lambda *both: whole(*both) * np.nan)
    with pytest.raises(DivergedError, match="OC_g_kg are not finite"):
        score(soils_of(library), replace(CONFIG, training__max_epochs=1))


# Sizes.


def graph():
    """6 numbers -> dense 4 -> dense 5, the first joined to the second, and a convolution beside."""
    x = keras.Input((6, 2), name="in")
    a = keras.layers.Conv1D(3, 2, strides=2, padding="same", name="a")(x)  # (3, 3)
    b = keras.layers.LSTM(4, name="b")(a)  # (4,)
    c = keras.layers.Dense(5, name="c")(b)
    d = keras.layers.Concatenate(name="d")([b, c])  # (9,)
    return keras.Model(x, keras.layers.Dense(1, name="e")(d))


def test_multiplications_and_weights_by_hand():
    found = of_graph(graph(), unrolled=False)
    convolution, recurrent = 3 * (2 * 2 * 3), 3 * (3 * 16 + 4 * 16)
    assert found.operations == convolution + recurrent + 4 * 5 + 9
    assert found.weights == (12 + 3) + (48 + 64 + 16) + (20 + 5) + (9 + 1)


@pytest.mark.parametrize(("preset", "flash_kib", "arena_kib"), [("rs_ple_nano", 64, 32), ("rs_ple_small", 160, 64)])
def test_presets_for_microcontrollers_fit_what_the_readme_says_by_estimate(preset, flash_kib, arena_kib):
    """700 bands and three targets, as in NIRsoil; the export's own figures stand in the README."""
    correlation = np.array([[1.0, 0.8, 0.4], [0.8, 1.0, 0.3], [0.4, 0.3, 1.0]])
    spec = NetworkSpec(
        bands=1, channels=1, components=1, views=((0,),), targets=("N", "OC", "CEC"), correlation=correlation
    )
    found = size(PRESETS[preset](), spec, np.arange(1100.0, 2500.0, 2.0), 618)
    assert flash_kib / 2 < found.flash_bytes / 1024 < flash_kib
    # The estimate of an arena is right to a few percent.
    assert arena_kib / 2 < found.arena_bytes / 1024 < 1.05 * arena_kib


def test_the_peak_is_that_of_the_tensors_alive_together():
    """12 in + 9 out of the convolution; later 4, 5 and 9 of LSTM, dense and their join."""
    network = graph()
    nodes = [node for node in network.operations if not isinstance(node, keras.layers.InputLayer)]
    assert peak_bytes(nodes, network.outputs) == 21
    assert peak_bytes(nodes[2:], network.outputs) == 4 + 5 + 9


def test_the_front_holds_what_no_other_beats_in_both():
    rng = np.random.default_rng(0)
    costs, scores = rng.integers(1, 8, 60).astype(float), rng.integers(0, 9, 60) / 10
    on = front(costs, scores)
    beaten = [
        any(
            (costs[j] <= costs[i] and scores[j] >= scores[i]) and (costs[j] < costs[i] or scores[j] > scores[i])
            for j in range(60)
        )
        for i in range(60)
    ]
    pairs = {(costs[i], scores[i]) for i in range(60) if not beaten[i]}
    assert {(costs[i], scores[i]) for i in on} == pairs
    assert len(on) == len(pairs)
