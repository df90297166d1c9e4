"""Laws of `SoilRegressor`: scikit-learn's contract, the pipeline's results, and honest answers to impossible input."""

import json
import pickle

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import relple_tf
from relple_tf import SoilRegressor, adapt, predict
from relple_tf.command_line import run as run_command
from relple_tf.config import Config, SimulatedConfig, changed
from relple_tf.errors import InputError
from relple_tf.pipeline import fit_model
from relple_tf.prediction.runs import estimates
from relple_tf.spectra.sources.simulated import simulate
from relple_tf.spectra.splitting.folds import development_folds

TINY = {
    "front_end.channels": ("snv_d1",),
    "front_end.views": (),
    "model.architecture": "shared_bottom",
    "model.expert_kind": "cnn",
    "model.conv_filters": (4,),
    "model.conv_kernel": 3,
    "model.expert_units": 4,
    "model.tower_units": 4,
    "model.basis_units": 0,
    "model.landmarks": 16,
    "split.validation": 0.4,
    "training.cv_folds": 0,
    "training.max_epochs": 2,
    "training.workers": 1,
}
FEATURES = np.random.default_rng(0).normal(size=(40, 6))
FOLDS = TINY | {"training.cv_folds": 2}
TARGETS = ("OC_g_kg", "pH")

NOT_CHECKED = {
    "check_estimators_nan_inf": "predict gives NaN for an impossible scan, and the other scans their values",
    "check_methods_sample_order_invariance": "float32 sums depend on the batch in the last digits; see below",
    "check_methods_subset_invariance": "likewise",
}


CHECKED_ALWAYS = {
    *("check_estimator_cloneable", "check_estimator_repr", "check_no_attributes_set_in_init", "check_set_params"),
    *("check_parameters_default_constructible", "check_get_params_invariance", "check_estimators_unfitted"),
    *("check_dict_unchanged", "check_n_features_in", "check_dont_overwrite_parameters", "check_fit_score_takes_y"),
    *("check_estimators_overwrite_params", "check_estimators_pickle", "check_regressor_multioutput"),
    *("check_supervised_y_no_nan", "check_estimators_empty_data_messages", "check_fit_check_is_fitted"),
}
"""The other checks are slow: each fits networks."""


def passes(estimator, check, *, always):
    name = getattr(check, "func", check).__name__
    if (name in CHECKED_ALWAYS) is not always:
        pytest.skip("checked by the other of two tests")
    check(estimator)


CHECKS = parametrize_with_checks(
    [SoilRegressor(quantity="features", config=TINY)],
    expected_failed_checks=lambda estimator: NOT_CHECKED,
)


@CHECKS
def test_scikit_learn(estimator, check):
    passes(estimator, check, always=True)


@pytest.mark.slow
@CHECKS
def test_the_other_checks_of_scikit_learn(estimator, check):
    passes(estimator, check, always=False)


@pytest.fixture(scope="module")
def soils():
    return simulate(SimulatedConfig(soils=90, step_nm=16.0))


@pytest.fixture(scope="module")
def frame(soils):
    return pd.DataFrame({name: soils.targets[name] for name in TARGETS})


@pytest.fixture(scope="module")
def fitted(soils, frame):
    return SoilRegressor(wavelengths_nm=soils.wavelengths_nm, config=FOLDS).fit(soils.spectra, frame)


def test_it_equals_the_pipeline_on_all_rows(soils, fitted):
    changes = {}
    for path, value in FOLDS.items():
        section, _, name = path.partition(".")
        changes.setdefault(section, {})[name] = value
    config = changed(Config(), changes)
    library = relple_tf.SpectralLibrary.from_arrays(
        soils.spectra, {name: soils.targets[name] for name in TARGETS}, wavelengths_nm=soils.wavelengths_nm
    )
    model = fit_model(library, np.full(len(library), "train"), config, show=False).model
    expected = estimates(model, soils.spectra)
    got = fitted.predict(soils.spectra)
    np.testing.assert_array_equal(got.to_numpy(), np.stack([expected[name] for name in TARGETS], axis=1))


def test_a_dataframe_comes_back_as_one_with_its_index(soils, frame, fitted):
    rows = pd.DataFrame(soils.spectra[:5], index=list("abcde"))
    got = fitted.predict(rows)
    assert list(got.columns) == list(frame.columns)
    assert list(got.index) == list("abcde")


@pytest.mark.parametrize("order", [slice(None, None, -1), slice(10, 20)], ids=["reversed", "subset"])
def test_a_prediction_depends_on_its_own_scan_only(soils, fitted, order):
    whole = fitted.predict(soils.spectra).to_numpy()
    np.testing.assert_allclose(fitted.predict(soils.spectra[order]).to_numpy(), whole[order], rtol=1e-5)


def test_pickle_and_clone_keep_predictions_and_settings(soils, frame, fitted):
    again = pickle.loads(pickle.dumps(fitted))
    for one, other in zip(again.model_.get_weights(), fitted.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # TensorFlow may order the operations of two equal graphs differently, which changes the last digit.
    np.testing.assert_allclose(again.predict(soils.spectra[:9]), fitted.predict(soils.spectra[:9]), rtol=1e-6)
    np.testing.assert_allclose(
        again.predict_interval(soils.spectra[:9], 0.8), fitted.predict_interval(soils.spectra[:9], 0.8), rtol=1e-5
    )
    assert clone(fitted).get_params()["config"] == FOLDS


def test_wider_coverage_gives_wider_intervals_around_the_prediction(soils, fitted):
    values = fitted.predict(soils.spectra).to_numpy()
    widths = []
    for coverage in (0.5, 0.8, 0.9):
        ends = fitted.predict_interval(soils.spectra, coverage).to_numpy().reshape(len(values), -1, 2)
        assert np.all(ends[..., 0] <= values + 1e-6)
        assert np.all(values <= ends[..., 1] + 1e-6)
        widths.append((ends[..., 1] - ends[..., 0]).mean(axis=0))
    assert np.all(np.diff(widths, axis=0) > 0)


def test_an_impossible_scan_has_no_value_and_is_invalid(soils, fitted):
    scans = soils.spectra[:3].copy()
    scans[1, 4] = np.nan
    scans[2] = 0.5
    got = fitted.predict(scans).to_numpy()
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1:]).all()
    assert list(fitted.predict_domain(scans)["status"][1:]) == ["invalid", "invalid"]
    assert np.isnan(fitted.predict_interval(scans).to_numpy()[1:]).all()


def test_score_is_the_mean_r2_over_measured_values(soils, frame, fitted):
    holes = frame.copy()
    holes.iloc[::3, 0] = np.nan
    values = fitted.predict(soils.spectra)
    known = holes["OC_g_kg"].notna()
    expected = (r2_score(holes["OC_g_kg"][known], values["OC_g_kg"][known]) + r2_score(holes["pH"], values["pH"])) / 2
    assert fitted.score(soils.spectra, holes) == pytest.approx(expected)


def test_no_fold_divides_a_sample_or_a_group(soils, frame, monkeypatch):
    """The folds of the fitted library are those of the ids and groups that `fit` received."""
    samples, fields = np.arange(len(frame)) // 2, np.arange(len(frame)) // 30
    received = []
    monkeypatch.setattr("relple_tf.estimator.fit_model", lambda library, *rest, **more: received.append(library))
    monkeypatch.setattr(SoilRegressor, "_keep", lambda *rest: None)
    SoilRegressor(config=FOLDS).fit(soils.spectra, frame, groups=fields, sample_ids=samples)
    fold = development_folds(received[0], np.full(len(frame), "train"), 0, 3)
    assert len(set(zip(fold.tolist(), fields.tolist(), strict=True))) == 3
    SoilRegressor(config=FOLDS).fit(soils.spectra, frame, sample_ids=samples)
    fold = development_folds(received[1], np.full(len(frame), "train"), 0, 3)
    assert len(set(zip(fold.tolist(), samples.tolist(), strict=True))) == len(set(samples.tolist()))


def test_cross_validation_and_pipelines_of_scikit_learn(soils, frame):
    regressor = SoilRegressor(wavelengths_nm=soils.wavelengths_nm, config=TINY)
    pipeline = make_pipeline(FunctionTransformer(lambda scans: scans / 1.0), regressor)
    values = cross_val_predict(pipeline, soils.spectra, frame["pH"].to_numpy(), cv=2)
    assert values.shape == (len(frame),)
    assert np.isfinite(values).all()


class Epochs(keras.callbacks.Callback):
    """Keeps the logs of every epoch."""

    def __init__(self):
        super().__init__()
        self.logs = []

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append((epoch, dict(logs)))


LAST = Epochs()


def last():
    return LAST


def test_a_callback_receives_every_epoch_of_the_final_network(soils, frame):
    attached = Epochs()
    config = FOLDS | {"training.callbacks": ("test_estimator:last",)}
    SoilRegressor(wavelengths_nm=soils.wavelengths_nm, config=config, callbacks=[attached]).fit(soils.spectra, frame)
    assert [epoch for epoch, _ in attached.logs] == [0, 1]
    assert all(np.isfinite(logs["loss"]) for _, logs in attached.logs)
    assert attached.logs == LAST.logs


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "rs"}, "preset: expected one of rs_ple_nano"),
        ({"quantity": "counts"}, "quantity: expected reflectance"),
        ({"config": {"max_epochs": 3}}, "expected keys such as 'training.max_epochs'"),
        ({"config": {"training.epochs": 3}}, "received 'training.epochs'"),
        ({"config": {"training.__class__": 3}}, "received 'training.__class__'"),
        ({"config": 3}, "config: expected a Config or a mapping"),
        ({"config": {"training.callbacks": ("keras:Model",)}}, "expected a Keras callback"),
        ({"config": {"training.callbacks": ("no_such:thing",)}}, "expected an importable function"),
        ({"wavelengths_nm": [1, 2]}, "wavelengths_nm: expected"),
    ],
)
def test_wrong_settings_are_refused_by_name(soils, frame, settings, message):
    with pytest.raises(InputError, match=message):
        SoilRegressor(**({"wavelengths_nm": soils.wavelengths_nm, "config": TINY} | settings)).fit(soils.spectra, frame)


def test_intervals_need_out_of_fold_predictions(soils, frame):
    regressor = SoilRegressor(wavelengths_nm=soils.wavelengths_nm, config=TINY).fit(soils.spectra, frame)
    with pytest.raises(InputError, match=r"training\.cv_folds"):
        regressor.predict_interval(soils.spectra)


@pytest.fixture(scope="module")
def saved(soils, frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "run"
    regressor = SoilRegressor(wavelengths_nm=soils.wavelengths_nm, config=FOLDS)
    regressor.fit(soils.spectra[:70], frame[:70], groups=np.arange(70) // 10)
    regressor.save(path, soils.spectra[70:], frame[70:])
    return regressor, path


def test_a_saved_run_predicts_as_the_estimator(soils, saved):
    regressor, path = saved
    table = relple_tf.load(path).predict(soils.spectra)
    np.testing.assert_array_equal(table[list(TARGETS)].to_numpy(), regressor.predict(soils.spectra).to_numpy("float32"))
    ends = regressor.predict_interval(soils.spectra)
    np.testing.assert_allclose(table["pH_low"], ends["pH"]["low"], rtol=1e-6)
    assert list(table["status"]) == list(regressor.predict_domain(soils.spectra)["status"])


def test_a_saved_run_is_a_run(soils, frame, saved):
    _, path = saved
    card = json.loads((path / "card.json").read_text())
    assert (card["source"], card["simulated"]) == ("arrays", False)
    assert card["soils"] == {"train": 70, "validation": 0, "test": 20}
    metrics = json.loads((path / "metrics.json").read_text())
    expected = r2_score(frame["pH"][70:], relple_tf.load(path).predict(soils.spectra[70:])["pH"])
    assert metrics["test"]["pH"]["r2"] == pytest.approx(expected, rel=1e-5)
    predict.main([str(path), str(table_of(soils, path.parent / "scans.csv")), "--out", str(path.parent / "out.csv")])
    written = pd.read_csv(path.parent / "out.csv")
    np.testing.assert_allclose(written["pH"], relple_tf.load(path).predict(soils.spectra)["pH"], rtol=1e-5)


def table_of(soils, path):
    pd.DataFrame(soils.spectra, columns=[f"{nm:g}" for nm in soils.wavelengths_nm]).to_csv(path, index=False)
    return path


def test_a_loaded_model_resamples_and_marks_impossible_scans(soils, saved):
    model = relple_tf.load(saved[1])
    reverse = model.predict(soils.spectra[:4, ::-1], wavelengths_nm=soils.wavelengths_nm[::-1])
    pd.testing.assert_frame_equal(reverse, model.predict(soils.spectra[:4]))
    absorbance = model.predict(-np.log10(soils.spectra[:4]), quantity="absorbance")
    np.testing.assert_allclose(absorbance["pH"], reverse["pH"], rtol=1e-4)
    scans = soils.spectra[:2].copy()
    scans[0, 3] = np.inf
    table = model.predict(scans)
    assert next(iter(table["status"])) == "invalid"
    assert table.iloc[0].drop("status").isna().all()
    assert table["pH"][1] == pytest.approx(reverse["pH"][1], rel=1e-5)


def test_columns_in_descending_order_give_the_same_predictions(soils, frame):
    ascending = SoilRegressor(wavelengths_nm=soils.wavelengths_nm, config=TINY).fit(soils.spectra, frame)
    descending = SoilRegressor(wavelengths_nm=soils.wavelengths_nm[::-1], config=TINY).fit(
        soils.spectra[:, ::-1], frame
    )
    pd.testing.assert_frame_equal(descending.predict(soils.spectra[:, ::-1]), ascending.predict(soils.spectra))


def test_a_restricted_range_reads_its_own_bands_only(soils, frame):
    config = TINY | {"front_end.start_nm": 1500.0}
    regressor = SoilRegressor(wavelengths_nm=soils.wavelengths_nm, config=config).fit(soils.spectra, frame)
    scans = soils.spectra.copy()
    scans[:, soils.wavelengths_nm < 1500] = 0.2
    pd.testing.assert_frame_equal(regressor.predict(scans), regressor.predict(soils.spectra))


def test_features_may_be_any_numbers():
    rng = np.random.default_rng(0)
    x = rng.normal(-500.0, 3.0, (80, 6))
    regressor = SoilRegressor(quantity="features", config=TINY | {"training.max_epochs": 40}).fit(x, x[:, 0])
    assert np.isfinite(regressor.predict(x)).all()
    assert regressor.score(x, x[:, 0]) > 0.5


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: pickle.loads(pickle.dumps(r)), "save before pickling or adapting"),
        (
            lambda r: SoilRegressor(quantity="features", config=TINY).fit(FEATURES, np.arange(40.0)),
            "pickle",
        ),
    ],
)
def test_what_cannot_be_saved_is_refused_and_nothing_is_written(soils, frame, saved, tmp_path, spoil, message):
    with pytest.raises(InputError, match=message):
        spoil(saved[0]).save(tmp_path / "run", soils.spectra[70:], frame[70:])
    assert not (tmp_path / "run").exists()


def test_a_folder_with_other_files_is_left_alone(soils, frame, saved, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="other files"):
        saved[0].save(tmp_path, soils.spectra[70:], frame[70:])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spectra": np.full((3, 12), "x")}, "spectra: expected numbers"),
        ({"wavelengths_nm": np.full(12, 1200)}, "occurs twice"),
        ({"targets": {"pH": [6, 7]}}, r"pH: expected shape \(3,\)"),
        ({"groups": ["a", None, "b"]}, "row 2 has none"),
        ({"sample_ids": [1.5, 2.5, 3.5]}, "expected text or integers"),
        ({"targets": {"pH": [6, 7, 15]}}, "pH"),
    ],
)
def test_impossible_arrays_are_refused_by_name(changes, message):
    arrays = {
        "spectra": np.linspace(0.2, 0.5, 36).reshape(3, 12),
        "targets": {"pH": [6, 7, np.nan]},
        "wavelengths_nm": np.arange(1100, 1220, 10),
        "sample_ids": [1, 2, 3],
    }
    library = relple_tf.SpectralLibrary.from_arrays(**arrays)
    assert list(library.ids) == ["1", "2", "3"]
    with pytest.raises(InputError, match=message):
        relple_tf.SpectralLibrary.from_arrays(**(arrays | changes))


def test_score_matches_targets_by_name_and_refuses_others(soils, frame, fitted):
    expected = fitted.score(soils.spectra, frame)
    assert fitted.score(soils.spectra, frame[frame.columns[::-1]]) == pytest.approx(expected)
    for other in (frame[["pH"]], frame.rename(columns={"pH": "clay_pct"}), frame["pH"].to_numpy()):
        with pytest.raises(InputError, match="expected OC_g_kg, pH"):
            fitted.score(soils.spectra, other)
    without = frame.assign(pH=np.nan)
    known = r2_score(frame["OC_g_kg"], fitted.predict(soils.spectra)["OC_g_kg"])
    assert fitted.score(soils.spectra, without) == pytest.approx(known)


def test_test_soils_share_no_id_with_fitted_ones(soils, frame, tmp_path):
    regressor = SoilRegressor(wavelengths_nm=soils.wavelengths_nm, config=TINY)
    regressor.fit(soils.spectra[:70], frame[:70], sample_ids=[f"test{row}" for row in range(70)])
    regressor.save(tmp_path / "run", soils.spectra[70:], frame[70:])
    split = pd.read_csv(tmp_path / "run" / "split.csv", dtype=str)
    assert split.groupby("id")["part"].nunique().max() == 1


def test_decisions_of_the_estimator_are_those_of_its_saved_run(soils, saved):
    regressor, path = saved
    table = relple_tf.load(path).predict(soils.spectra)
    widths = np.maximum(table["pH"] - table["pH_low"], table["pH_high"] - table["pH"])
    for need in (1e-9, float(np.median(widths)) * 1.001, 1e9):
        decided = regressor.predict_domain(soils.spectra, need={"pH": need})["pH_decision"].tolist()
        assert decided == np.where((table["status"] == "ok") & (widths <= need), "keep", "send").tolist()
        assert relple_tf.load(path).predict(soils.spectra, need={"pH": need})["pH_decision"].tolist() == decided
    for need, message in (({"Au": 1}, "the estimator has no target Au"), ({"pH": -1}, "finite number above 0")):
        with pytest.raises(InputError, match=message):
            regressor.predict_domain(soils.spectra, need=need)


@pytest.fixture(scope="module")
def local():
    """Spectra (20, bands) and values of soils that the other fixtures do not hold, whose pH is 1.5 higher."""
    library = simulate(SimulatedConfig(soils=20, step_nm=16.0, seed=7))
    return library.spectra, pd.DataFrame({"pH": library.targets["pH"] + 1.5}), library.wavelengths_nm


def test_an_adapted_estimator_is_the_adapted_run(saved, local, tmp_path):
    regressor, path = saved
    spectra, values, nm = local
    with pytest.warns(UserWarning, match="OC_g_kg: expected at least 5 samples"):
        adapted = regressor.adapt(spectra, values)
    table = pd.DataFrame(spectra, columns=[f"{band:g}" for band in nm])
    pd.concat([values, table], axis=1).to_csv(tmp_path / "local.csv", index=False)
    with pytest.raises(SystemExit):
        run_command(adapt.main, [str(path), "--data", str(tmp_path / "local.csv"), "--out", str(tmp_path / "run")])
    of_run = relple_tf.load(tmp_path / "run").predict(spectra)
    np.testing.assert_allclose(adapted.predict(spectra), of_run[[*TARGETS]], rtol=1e-4)
    ends = adapted.predict_interval(spectra)
    np.testing.assert_allclose(ends["pH"]["high"], of_run["pH_high"], rtol=1e-4)
    assert list(adapted.predict_domain(spectra)["status"]) == list(of_run["status"])
    weights = json.loads((tmp_path / "run" / "card.json").read_text())["adaptation"]["targets"]["pH"]["weights"]
    assert adapted.adaptation_.loc["pH", "weight"].to_dict() == pytest.approx(weights, abs=1e-3)


def test_adapting_leaves_the_fitted_estimator_as_it_was(saved, local, soils):
    regressor, _ = saved
    spectra, values, _ = local
    before = regressor.predict(soils.spectra), regressor.predict_interval(soils.spectra)
    with pytest.warns(UserWarning, match="its estimates are unchanged"):
        adapted = regressor.adapt(spectra, values)
    pd.testing.assert_frame_equal(regressor.predict(soils.spectra), before[0])
    pd.testing.assert_frame_equal(regressor.predict_interval(soils.spectra), before[1])
    assert not hasattr(regressor, "adaptation_")
    again = pickle.loads(pickle.dumps(adapted))
    pd.testing.assert_frame_equal(again.predict(spectra), adapted.predict(spectra))
    pd.testing.assert_frame_equal(again.predict_interval(spectra), adapted.predict_interval(spectra))
    wide, narrow = (adapted.predict_interval(spectra, coverage)["pH"] for coverage in (0.9, 0.6))
    assert (wide["high"] - wide["low"] > narrow["high"] - narrow["low"]).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda model, x, y: model.adapt(x, y.assign(clay_pct=1.0)), "y: expected OC_g_kg, pH; received pH, clay_pct"),
        (lambda model, x, y: model.adapt(x[:4], y[:4]), "expected at least 5 samples"),
        (lambda model, x, y: pickle.loads(pickle.dumps(model)).adapt(x, y), "adapt before pickling"),
        (lambda model, x, y: model.adapt(model._library.spectra[:9], y[:9]), "9 of 9 scans are"),
    ],
    ids=["unknown target", "four soils", "unpickled", "soils of fit"],
)
def test_what_cannot_be_adapted_is_refused(saved, local, spoil, message):
    with pytest.raises(InputError, match=message):
        spoil(saved[0], local[0], local[1])
