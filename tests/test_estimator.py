"""Laws of `SoilRegressor`: scikit-learn's contract, the pipeline's results, and honest answers to impossible input."""

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
from relple_tf import SoilRegressor
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
FOLDS = TINY | {"training.cv_folds": 2}
TARGETS = ("OC_g_kg", "pH")

NOT_CHECKED = {
    "check_estimators_nan_inf": "predict gives NaN for an impossible scan, and the other scans their values",
    "check_methods_sample_order_invariance": "float32 sums depend on the batch in the last digits; see below",
    "check_methods_subset_invariance": "likewise",
}


@parametrize_with_checks(
    [SoilRegressor(quantity="features", config=TINY)],
    expected_failed_checks=lambda estimator: NOT_CHECKED,
)
def test_scikit_learn(estimator, check):
    check(estimator)


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
    np.testing.assert_array_equal(again.predict(soils.spectra[:9]), fitted.predict(soils.spectra[:9]))
    np.testing.assert_array_equal(
        again.predict_interval(soils.spectra[:9], 0.8), fitted.predict_interval(soils.spectra[:9], 0.8)
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
