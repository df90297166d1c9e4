"""`python -m relple_tf.adapt`: an ordinary run folder whose estimates are adapted, or one line that says why not."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from export_fixtures import TINY_RUN, fixture_run  # noqa: F401

import relple_tf
from relple_tf import adapt
from relple_tf.adaptation import writing
from relple_tf.adaptation.adapted_run import local_soils
from relple_tf.adaptation.combination import combine, fit_regressions, predict_regressions
from relple_tf.adaptation.corrections import CORRECTIONS, fit_correction
from relple_tf.adaptation.reliability import local_interval, widened_limits
from relple_tf.adaptation.stored_run import read_local, read_run
from relple_tf.command_line import run as run_command
from relple_tf.evaluation.formatting import digits, percent
from relple_tf.models.deployed import LocalPart
from relple_tf.models.domain import Limits
from relple_tf.models.target_scaling import TargetScale
from relple_tf.prediction.runs import estimates, to_model_input
from relple_tf.runs.folder import RunFolder, write_manifest
from relple_tf.runs.stored_data import load_data
from relple_tf.spectra.sources.named import load
from relple_tf.training.intervals import Interval

SHIFT = 1.5
"""Bias of pH in the local field."""


def local_table(path, rows=slice(120, 140), **columns):
    """A table of simulated soils that are not in the library, whose pH is SHIFT higher than in the library."""
    soils = load(dataclasses.replace(TINY_RUN, simulated=dataclasses.replace(TINY_RUN.simulated, soils=160)))
    table = pd.DataFrame(soils.spectra[rows].round(5), columns=[f"{nm:g}" for nm in soils.wavelengths_nm])
    values = {"id": [f"l{row}" for row in range(len(table))], "pH": soils.targets["pH"][rows] + SHIFT} | columns
    for name, column in reversed(values.items()):
        if column is not None:
            table.insert(0, name, column)
    table.to_csv(path, index=False)
    return path


def ended(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        run_command(adapt.main, [str(argument) for argument in arguments])
    return end.value.code, capsys.readouterr()


@pytest.fixture(scope="module")
def adapted(run, tmp_path_factory):
    """The folder of the local table and of the adapted run."""
    folder = tmp_path_factory.mktemp("adapted")
    table = local_table(folder / "local.csv")
    with pytest.raises(SystemExit) as end:
        run_command(adapt.main, [str(run), "--data", str(table), "--out", str(folder / "run")])
    assert end.value.code == 0
    return folder


def test_estimates_of_an_adapted_target_move_to_the_local_soils_and_others_stay(run, adapted):
    before, after = (relple_tf.load(folder).predict(adapted / "local.csv") for folder in (run, adapted / "run"))
    pd.testing.assert_series_equal(after["OC_g_kg"], before["OC_g_kg"])  # no local value
    facts = json.loads((adapted / "run" / "card.json").read_text())["adaptation"]["targets"]
    assert list(facts) == ["pH"]
    assert sum(facts["pH"]["weights"].values()) == pytest.approx(1)
    assert facts["pH"]["rmse"]["bias"] < 0.6 * facts["pH"]["rmse"]["none"]
    assert facts["pH"]["rmse"]["combined"] < 0.6 * facts["pH"]["rmse"]["none"]
    measured = pd.read_csv(adapted / "local.csv")["pH"]
    # The weight that equal weights leave to the run as it is.
    assert abs(np.mean(after["pH"] - measured)) < (facts["pH"]["weights"]["none"] + 0.02) * SHIFT


def test_the_deployed_graph_gives_the_combination_of_the_card(run, adapted):
    """The layers of the saved model, on soils that are in neither table, against methods fitted anew."""
    local, card = read_local(run, str(adapted / "local.csv"), ""), json.loads((run / "card.json").read_text())
    stored = read_run(run)
    converted, _ = to_model_input(local, card)
    scale = next(scale for scale in stored.scales if scale.name == "pH")
    samples = np.arange(len(local))
    soils = local_soils(stored, converted.spectra, {"pH": scale.to_model(local.targets["pH"])}, samples)
    landmarks = stored.config.model.landmarks
    combination, _ = combine(soils, landmarks, stored.config.training.seed)
    regressions = fit_regressions(soils, landmarks, stored.config.training.seed)

    new = load(dataclasses.replace(TINY_RUN, simulated=dataclasses.replace(TINY_RUN.simulated, soils=160))).rows(
        np.arange(140, 160)
    )
    of_new = local_soils(stored, new.spectra, {}, np.arange(20))
    weights, columns = combination["pH"].weights, predict_regressions(regressions, ["pH"], of_new.scores)
    estimated, known = of_new.estimated["pH"], soils.measured["pH"]
    expected = weights["residual regression"] * (estimated + columns["pH", "residual regression"])
    expected += weights["local regression"] * columns["pH", "local regression"]
    for method in CORRECTIONS:
        expected += weights[method] * fit_correction(method, soils.estimated["pH"], known)(estimated)
    after = read_run(adapted / "run")
    scale = next(scale for scale in after.scales if scale.name == "pH")
    received = estimates(after.model, new.spectra)["pH"]
    np.testing.assert_allclose(received, scale.to_lab(expected), rtol=1e-4)


def test_the_adapted_run_is_complete_and_holds_the_local_soils_as_its_test_part(run, adapted):
    RunFolder(path=adapted / "run").verify()
    library, parts = load_data(adapted / "run" / "data.npz")
    original, original_parts = load_data(run / "data.npz")
    assert len(library) == len(original) + 20
    np.testing.assert_array_equal(parts[:-20], original_parts)
    assert set(parts[-20:]) == {"test"}
    train = parts == "train"
    np.testing.assert_array_equal(library.targets["pH"][train], original.targets["pH"][original_parts == "train"])
    # The error of an adapted target is that of local soils only.
    assert np.isnan(library.targets["pH"][:-20][original_parts == "test"]).all()
    assert np.isnan(library.targets["OC_g_kg"][-20:]).all()


def test_the_report_states_methods_and_limits(adapted):
    text = (adapted / "run" / "report.html").read_text()
    facts = json.loads((adapted / "run" / "card.json").read_text())["adaptation"]["targets"]["pH"]
    assert f"<strong>{digits(facts['rmse']['combined'])}</strong>" in text
    assert f"<td>{digits(facts['rmse']['bias'])} <small>({percent(facts['weights']['bias'])})</small></td>" in text
    assert "http" not in text
    assert text.count("<img") == 1


def test_an_adapted_run_can_be_adapted_again(adapted, tmp_path, capsys):
    table = local_table(tmp_path / "more.csv", slice(140, 160))
    code, output = ended([adapted / "run", "--data", table, "--out", tmp_path / "again"], capsys)
    assert code == 0
    assert "pH: RMSE" in output.out
    again, once = (read_run(folder).model for folder in (tmp_path / "again", adapted / "run"))
    assert len(LocalPart.all_of(again)) == 2
    np.testing.assert_array_equal(
        LocalPart.all_of(again)[0].regression.landmark, LocalPart.all_of(once)[0].regression.landmark
    )


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (slice(120, 124), {"pH": None, "OC_g_kg": [3.0, 4, 5, 6]}, "OC_g_kg: expected at least 5 samples"),
        (slice(120, 124), {}, "expected at least 5 samples with a laboratory value, received 4"),
        (slice(120, 121), {}, "expected at least 5 samples with a laboratory value, received 1"),
        (slice(120, 130), {"pH": 6.5}, "expected laboratory values that differ, received 10 times 6.5"),
        (slice(120, 130), {"pH": None, "clay_pct": 20.0 + np.arange(10)}, "which are OC_g_kg, pH; received clay_pct"),
        (slice(0, 10), {}, "10 of 10 scans are, such as row 1 (l0); leave them out"),
    ],
    ids=["four soils of OC", "four soils", "one soil", "equal values", "no common target", "soils of the library"],
)
def test_what_cannot_be_adapted_is_refused_in_one_line(run, tmp_path, capsys, rows, columns, message):
    table = local_table(tmp_path / "local.csv", rows, **columns)
    code, output = ended([run, "--data", table, "--out", tmp_path / "out"], capsys)
    errors = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "out").exists()


def test_a_run_without_stored_data_is_refused(run, tmp_path, capsys):
    table = local_table(tmp_path / "local.csv")
    bare = tmp_path / "bare"
    shutil.copytree(run, bare)
    (bare / "data.npz").unlink()
    manifest = json.loads((bare / "manifest.json").read_text())
    del manifest["data.npz"]
    (bare / "manifest.json").write_text(json.dumps(manifest))
    code, output = ended([bare, "--data", table, "--out", tmp_path / "out"], capsys)
    assert code == 2
    assert "run.keep_data was false" in output.err


def test_a_model_that_differs_from_its_config_is_refused_in_one_line(run, tmp_path, capsys):
    table = local_table(tmp_path / "local.csv")
    other = tmp_path / "other"
    shutil.copytree(run, other)
    config = (other / "config.toml").read_text()
    assert 'architecture = "rs_ple"' in config
    (other / "config.toml").write_text(config.replace('architecture = "rs_ple"', 'architecture = "mmoe"'))
    write_manifest(other, json.loads((other / "manifest.json").read_text()))
    code, output = ended([other, "--data", table, "--out", tmp_path / "out"], capsys)
    assert code == 2
    assert len([line for line in output.err.splitlines() if line.startswith("error: ")]) == 1
    assert "model.keras: damaged" in output.err


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    table = local_table(tmp_path / "local.csv")
    code, output = ended([tmp_path, "--data", table, "--out", tmp_path / "out"], capsys)
    assert code == 2
    assert "not a run folder" in output.err


def test_what_an_interruption_leaves_is_not_taken_for_a_training(run, tmp_path, capsys, monkeypatch):
    """`relple_tf.train --resume` would continue it with the config of the first run."""
    table = local_table(tmp_path / "local.csv")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "adaptation_page", interrupt)
    code, _ = ended([run, "--data", table, "--out", tmp_path / "out"], capsys)
    assert code == 130
    assert not RunFolder(path=tmp_path / "out").is_started


INTERVAL = Interval(target="pH", coverage=0.9, half_width=0.5, growth=0.0, root=False, non_negative=False, n=500)
SCALE = TargetScale.fit("pH", np.random.default_rng(0).normal(6, 1, 400))


def test_the_interval_goes_from_that_of_the_library_to_that_of_many_local_errors():
    rng = np.random.default_rng(1)
    no_error = local_interval(INTERVAL, SCALE, np.full(3, np.nan), np.zeros(3), np.zeros(3), np.arange(3))
    assert no_error.half_width > INTERVAL.half_width  # with as few degrees of freedom as LIBRARY_SOILS
    errors = rng.normal(0, 2.0, 20_000) / SCALE.sd
    zeros = np.zeros(20_000)
    many = local_interval(INTERVAL, SCALE, zeros, errors, zeros, np.arange(20_000))
    assert many.half_width == pytest.approx(1.645 * 2.0, rel=0.02)
    widths = [
        local_interval(INTERVAL, SCALE, np.zeros(n), np.full(n, 3.0), np.zeros(n), np.arange(n)).half_width
        for n in (1, 5, 50)
    ]
    assert widths == sorted(widths)


def test_scans_of_a_sample_count_as_one_soil():
    errors = np.array([0.3, -0.8, 0.5, 0.1, -0.4])
    once = local_interval(INTERVAL, SCALE, np.zeros(5), errors, np.zeros(5), np.arange(5))
    twice = local_interval(
        INTERVAL, SCALE, np.zeros(10), np.repeat(errors, 2), np.zeros(10), np.repeat(np.arange(5), 2)
    )
    assert twice.half_width == pytest.approx(once.half_width)
    assert once.n == twice.n == 5


def test_an_error_counts_in_units_of_the_width_at_its_difficulty():
    growing = dataclasses.replace(INTERVAL, growth=2.0)
    errors, difficulty = np.array([0.3, -0.8, 0.5]), np.array([0.0, 1.0, 2.0])
    received = local_interval(growing, SCALE, np.zeros(3), errors * (1 + 2 * difficulty), difficulty, np.arange(3))
    expected = local_interval(INTERVAL, SCALE, np.zeros(3), errors, np.zeros(3), np.arange(3))
    assert received.half_width == pytest.approx(expected.half_width)
    assert received.growth == 2


@pytest.mark.parametrize("k", [10, 20])
@pytest.mark.parametrize("ratio", [1.0, 3.0], ids=["as the library", "three times the error"])
def test_intervals_of_few_local_soils_cover_about_as_stated(k, ratio):
    """Normal errors with a SD of the library's error times `ratio`; mean over many draws of k soils."""
    rng = np.random.default_rng(2)
    sd = ratio * INTERVAL.half_width / 1.645
    covered = []
    for _ in range(2000):
        errors = rng.normal(0, sd, k)
        interval = local_interval(INTERVAL, SCALE, np.zeros(k), errors / SCALE.sd, np.zeros(k), np.arange(k))
        covered.append(np.abs(rng.normal(0, sd, 50)) <= interval.half_width)
    assert 0.85 < np.mean(covered) < 0.95


def outputs(t2):
    """A model whose T2 is `t2` for every scan."""
    return lambda scans: {name: np.full(len(scans), value) for name, value in {"pH": 1.0, "T2": t2, "Q": 0.0}.items()}


@pytest.mark.parametrize(("foreign_t2", "limit"), [(1e6, 40.0), (39.0, 10 * 4 ** (7 / 8)), (5.0, 10.0)])
def test_limits_are_widened_to_the_local_soils_as_far_as_foreign_scans_stay_outside(foreign_t2, limit):
    limits = Limits(t2=10.0, q=2.0, share=0.99)
    local = {"T2": np.array([3.0, 40.0]), "Q": np.array([0.5, 1.0])}
    nm = np.arange(1100.0, 2400.0, 10)
    wide = widened_limits(limits, local, outputs(foreign_t2), nm, "reflectance", ("pH",))
    assert wide.t2 == pytest.approx(limit, rel=1e-5)
    assert wide.q == 2.0
