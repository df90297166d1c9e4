"""The command `relple_tf.compare`: files, resuming, refused arguments."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from relple_tf import compare
from relple_tf.command_line import run
from relple_tf.comparison import jobs
from relple_tf.config import BASELINE_NAMES, Config, replace
from relple_tf.config_text import from_toml, to_toml
from relple_tf.errors import InputError
from relple_tf.processes import ProcessDiedError
from relple_tf.runs.folder import locked
from relple_tf.zoo import PRESETS

DATA = ["--data", "simulated", "--set=simulated.soils=80", "--set=simulated.step_nm=20", "--targets", "CEC_cmolc_kg,pH"]
ONE_WORKER = "--set=comparison.workers=1"
QUICK = [*DATA, "--models", "svr,plsr", "--repeats", "2"]
EXTRA = ["coverage", "flagged", "fit_s", "settings"]
FILES = {"compare.csv", "compare.html", "config.toml", "configs", "jobs", "manifest.json", "plan.json", "splits.csv"}


def call(*arguments):
    """Run the command in this process and return its exit code."""
    with pytest.raises(SystemExit) as exit_:
        run(compare.main, [str(argument) for argument in arguments])
    return exit_.value.code


def results(folder):
    """compare.csv without the fit time, which differs between runs."""
    return pd.read_csv(folder / "compare.csv").drop(columns="fit_s")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "quick"
    assert call(*QUICK, ONE_WORKER, "--out", folder) == 0
    return folder


@pytest.fixture(scope="module")
def with_network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "network"
    tiny = [
        "training.max_epochs=1",
        "training.cv_folds=0",
        "front_end.step_nm=40",
        "front_end.derivative_window_nm=120",
    ]
    tiny += ["front_end.whitened_components=5", "model.expert_kind=cnn", "comparison.sizes=30,60"]
    sets = [f"--set={field}" for field in tiny]
    assert (
        call(*DATA, *sets, ONE_WORKER, "--models", "rs_ple_nano,plsr", "--repeats", "1", "--seed", "5", "--out", folder)
        == 0
    )
    return folder


def test_a_comparison_writes_its_files_and_no_others(finished):
    assert {path.name for path in finished.iterdir()} == FILES
    assert len(list((finished / "jobs").iterdir())) == 4


def test_rows_have_the_order_of_seeds_models_and_targets(finished):
    table = pd.read_csv(finished / "compare.csv")
    keys = [(seed, model, target) for seed in (0, 1) for model in ("svr", "plsr") for target in ("CEC_cmolc_kg", "pH")]
    assert list(zip(table["seed"], table["model"], table["target"], strict=True)) == keys
    figures = ["n", "r2", "rmse", "mae", "bias", "sep", "rpd", "rpiq", "ccc"]
    assert list(table.columns) == ["seed", "fold", "soils", "model", "target", *figures, *EXTRA]
    assert table["settings"].str.match(r"C \d+, gamma|components \d+").all()


def test_all_models_of_a_repeat_have_the_same_test_rows(finished):
    table, splits = pd.read_csv(finished / "compare.csv"), pd.read_csv(finished / "splits.csv")
    for seed in (0, 1):
        (column,) = [name for name in splits if name.startswith(f"seed{seed}-")]
        assert set(table.loc[table["seed"] == seed, "n"]) == {(splits[column] == "test").sum()}
        assert column == f"seed{seed}-soils{(splits[column] != 'test').sum()}"


def test_a_network_is_trained_for_each_size(with_network):
    table = pd.read_csv(with_network / "compare.csv")
    assert list(zip(table["seed"], table["soils"], table["model"], strict=True))[::2] == [
        (5, soils, model) for soils in (30, 60) for model in ("rs_ple_nano", "plsr")
    ]
    assert table["n"].nunique() == 1
    splits = pd.read_csv(with_network / "splits.csv")
    assert (splits["seed5-soils30"].isna() & ~splits["seed5-soils60"].isna()).sum() == 30
    assert "Learning curves" in (with_network / "compare.html").read_text()


def test_the_stored_config_of_a_network_trains_it_again(with_network):
    """It contains the fields of the preset, those of --set, and the data and seed of the comparison."""
    config = from_toml(with_network / "configs" / "rs_ple_nano.toml")
    assert config.model.conv_filters == PRESETS["rs_ple_nano"]().model.conv_filters
    assert (config.training.max_epochs, config.training.seed) == (1, 5)
    assert config.data == from_toml(with_network / "config.toml").data
    assert [path.name for path in (with_network / "configs").iterdir()] == ["rs_ple_nano.toml"]


def test_the_printed_table_contains_the_medians(tmp_path, capsys, finished):
    assert call(*QUICK, ONE_WORKER, "--out", tmp_path / "again") == 0
    captured = capsys.readouterr()
    for value in results(finished).groupby(["target", "model"])["r2"].median():
        assert f"{value:.3f}" in captured.out
    assert str(tmp_path / "again" / "compare.html") in captured.out
    assert "simulated: no soil was scanned" in captured.err
    assert "epoch" not in captured.err
    for name in FILES - {"jobs", "configs", "compare.csv", "manifest.json"}:
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes(), name


@pytest.mark.slow
def test_two_processes_give_the_results_of_one(tmp_path, finished):
    assert call(*QUICK, "--set=comparison.workers=2", "--out", tmp_path / "two") == 0
    pd.testing.assert_frame_equal(results(tmp_path / "two"), results(finished), rtol=1e-6)


def interrupt_after(count, folder, monkeypatch):
    """Interrupt (Ctrl-C) the job after the first `count` jobs."""
    finished_jobs = []
    original = jobs.run_job

    def run_job(shared, job):
        if len(finished_jobs) == count:
            raise KeyboardInterrupt
        finished_jobs.append(job)
        original(shared, job)

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "run_job", run_job)
        assert call(*QUICK, ONE_WORKER, "--out", folder) == 130


def test_a_resumed_comparison_runs_only_the_missing_jobs(tmp_path, finished, monkeypatch, capsys):
    folder = tmp_path / "cut"
    interrupt_after(2, folder, monkeypatch)
    assert f"python -m relple_tf.compare --out {folder} --resume --set comparison.workers=1" in capsys.readouterr().err
    assert not (folder / "compare.csv").exists()
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (folder / "jobs").iterdir()}
    assert len(before) == 2

    assert call(*QUICK, "--out", folder) == 2
    assert "--resume" in capsys.readouterr().err
    (folder / "jobs" / ".unfinished-x.json").write_text("half")
    assert call("--out", folder, "--resume", ONE_WORKER) == 0
    assert {path.name for path in folder.iterdir()} == FILES
    assert len(list((folder / "jobs").iterdir())) == 4
    for name, state in before.items():
        path = folder / "jobs" / name
        assert (path.stat().st_mtime_ns, path.read_bytes()) == state
    pd.testing.assert_frame_equal(results(folder), results(finished))
    assert (folder / "compare.html").read_bytes() == (finished / "compare.html").read_bytes()


OTHER_PLANS = {
    "other models": ([*DATA, "--models", "svr", "--repeats", "2"], "--out and --resume only"),
    "another order": ([*DATA, "--models", "plsr,svr", "--repeats", "2"], "--out and --resume only"),
    "other repeats": ([*DATA, "--models", "svr,plsr", "--repeats", "4"], "--out and --resume only"),
    "other fields": ([*QUICK, "--set=split.test=0.3"], "not this command's configuration"),
    "other seed": ([*QUICK, "--seed", "1"], "not this command's configuration"),
}


@pytest.mark.parametrize(("arguments", "expected_words"), OTHER_PLANS.values(), ids=OTHER_PLANS)
def test_resuming_with_another_plan_is_refused(arguments, expected_words, finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert call(*arguments, "--out", finished, "--resume") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected_words in line
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_resuming_with_other_data_is_refused(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "cut"
    interrupt_after(1, folder, monkeypatch)
    data_hash = jobs.data_hash
    monkeypatch.setattr(jobs, "data_hash", lambda library: data_hash(library)[::-1])
    capsys.readouterr()
    assert call("--out", folder, "--resume", ONE_WORKER) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "changed since this comparison was started" in line


def test_a_complete_comparison_has_nothing_to_resume_and_is_not_overwritten(finished, capsys):
    (finished / "jobs" / ".unfinished-x.json").write_text("left by a kill")
    with locked(finished):
        assert call("--out", finished, "--resume") == 2
    assert f"{finished}: another command is at work in this folder" in capsys.readouterr().err
    assert call("--out", finished, "--resume") == 0
    assert "nothing to resume" in capsys.readouterr().err
    assert not (finished / "jobs" / ".unfinished-x.json").exists()
    assert call(*QUICK, "--out", finished) == 2
    assert "give another --out" in capsys.readouterr().err


def test_a_folder_of_another_command_is_not_resumed(tmp_path, capsys):
    (tmp_path / "config.toml").write_text(to_toml(Config()))
    (tmp_path / "checkpoint.npz").touch()
    for arguments in ([], DATA):
        assert call(*arguments, "--out", tmp_path, "--resume") == 2
        assert re.search("holds no comparison|not this command's configuration", capsys.readouterr().err)


@pytest.mark.slow
def test_a_comparison_killed_before_its_plan_was_written_is_started_again(tmp_path, finished, capsys):
    (tmp_path / "config.toml").write_bytes((finished / "config.toml").read_bytes())
    (tmp_path / "configs").mkdir()
    (tmp_path / ".unfinished-x.json").write_text("half")
    assert call("--out", tmp_path, "--resume") == 2
    assert "was interrupted before its plan was written; repeat its command with --resume" in capsys.readouterr().err
    assert call(*QUICK, ONE_WORKER, "--out", tmp_path, "--resume") == 0
    assert {path.name for path in tmp_path.iterdir()} == FILES
    pd.testing.assert_frame_equal(results(tmp_path), results(finished))


def test_a_process_that_dies_is_reported_with_the_command_to_continue(tmp_path, monkeypatch, capsys):
    def died(*arguments, **named):
        raise ProcessDiedError("a process died")

    monkeypatch.setattr(jobs, "run_all", died)
    assert call(*QUICK, "--out", tmp_path / "out") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert f"--out {tmp_path / 'out'} --resume --set comparison.workers=1" in last


def test_presets_use_the_data_of_the_config_file_but_not_its_network(tmp_path, monkeypatch):
    """`--config` adds the model `config`; presets keep their networks."""
    path = tmp_path / "model.toml"
    path.write_text(to_toml(replace(Config(), model__levels=1, data__source="a.csv", training__seed=7)))
    plans = []
    monkeypatch.setattr(compare, "import_tensorflow", lambda: None)
    parsed_plan = compare.parsed_plan
    monkeypatch.setattr(
        compare, "parsed_plan", lambda options: plans.append(parsed_plan(options)) or parsed_plan(options)
    )
    assert call("--config", path, "--set=split.test=0.3", "--out", tmp_path / "out") == 2
    (config, models, repeats), *_ = plans
    assert (list(models), repeats) == (["config", *compare.DEFAULTS], 10)
    assert models["config"] == models["svr"] == config
    assert config.model.levels == 1
    preset = models["rs_ple_base"]
    assert preset.model == PRESETS["rs_ple_base"]().model
    assert (preset.data.source, preset.training.seed, preset.split.test) == ("a.csv", 7, 0.3)


REFUSED = {
    "unknown model": (["--models", "svr,gru"], ["'gru'", "rs_ple_base", "cubist"]),
    "no model": (["--models", ""], ["''", "rs_ple_base"]),
    "a model twice": (["--models", "svr,svr"], ["svr,svr", "twice"]),
    "config without a file": (["--models", "config"], ["'config'", "--config FILE"]),
    "no repeat": (["--repeats", "0"], ["--repeats", "at least 1", "received 0"]),
    "repeats that are not a number": (["--repeats", "many"], ["many"]),
    "a preset": (["--preset", "rs_ple_base"], ["--preset", "--models"]),
    "an unknown scheme": (["--set=comparison.scheme=jackknife"], ["jackknife", "cross_validation"]),
    "one fold": (["--set=comparison.folds=1"], ["comparison.folds", "1"]),
    "a size twice": (["--set=comparison.sizes=20,20"], ["comparison.sizes", "20, 20"]),
    "a tiny size": (["--set=comparison.sizes=5"], ["comparison.sizes", "5"]),
    "a size above the number of soils": (
        [*DATA, "--set=comparison.sizes=40,400"],
        ["comparison.sizes", "at most 64", "received 400"],
    ),
    "no such data": (["--data", "no/such.csv"], ["no/such.csv"]),
    "an invalid network": (
        ["--models", "single_task_base,plsr", "--set=training.balancing=gradnorm"],
        ["gradnorm", "single_task"],
    ),
}


@pytest.mark.parametrize(("arguments", "expected_words"), REFUSED.values(), ids=REFUSED)
def test_invalid_commands_give_a_single_line_and_write_nothing(arguments, expected_words, tmp_path, capsys):
    assert call(*arguments, "--out", tmp_path / "out") == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    for words in expected_words:
        assert words in line
    assert captured.out == ""
    assert not (tmp_path / "out").exists()


def test_help_does_not_import_numpy_pandas_keras_or_sklearn():
    script = (
        "import sys, runpy\n"
        "sys.argv = ['compare', '--help']\n"
        "try:\n"
        "    runpy.run_module('relple_tf.compare', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print(end.code, sorted({'numpy', 'pandas', 'keras', 'tensorflow', 'sklearn'} & set(sys.modules)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    for name in (*PRESETS, *BASELINE_NAMES):
        assert re.search(rf"\b{name}\b", done.stdout)


def test_a_model_without_its_package_is_left_out_or_refused_with_the_extra(monkeypatch, capsys):
    monkeypatch.setattr(compare, "find_spec", lambda package: None if package == "cubist" else object())
    options = SimpleNamespace(
        models=None, repeats=1, config=None, data="simulated", lab=None, targets=None, set=[], seed=None
    )
    assert "cubist" not in compare.parsed_plan(options)[1]
    assert "relple-tf[baselines]" in capsys.readouterr().err
    options.models = "plsr,cubist"
    with pytest.raises(InputError, match=r"relple-tf\[baselines\]"):
        compare.parsed_plan(options)


@pytest.mark.parametrize("name", ["tabpfn", "tabicl"])
def test_a_tabular_model_without_its_package_is_refused_before_anything_is_written(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare, "find_spec", lambda package: None if package == name else object())
    assert call(*DATA, "--models", f"plsr,{name}", "--out", tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--models {name}: expected the package {name} to be installed; pip install {name}" in line
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(compare, "find_spec", lambda package: object())
    options = SimpleNamespace(
        models=name, repeats=1, config=None, data="simulated", lab=None, targets=None, set=[], seed=None
    )
    assert list(compare.parsed_plan(options)[1]) == [name]


def test_every_model_that_needs_a_package_is_a_baseline():
    assert set(compare.PACKAGES) <= set(BASELINE_NAMES)
    assert set(jobs.LONGEST_FIRST) == set(BASELINE_NAMES)
