"""The PLSR baseline of a run and the recommendations derived from it."""

import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import CONFIG
from sklearn.cross_decomposition import PLSRegression

from relple_tf import training_run
from relple_tf.baselines.plsr import CrossValidated, snv_first_derivative
from relple_tf.baselines.plsr_baseline import PlsrBaseline, learning_curve, nested_subsets, plsr_baseline
from relple_tf.config import replace as changed
from relple_tf.evaluation.recommendations import MARGIN, recommendations
from relple_tf.models import front_end
from relple_tf.models.target_scaling import TargetScale
from relple_tf.pipeline import FittedModel, deployed
from relple_tf.runs.folder import RunFolder
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.folds import development_folds
from relple_tf.training.cross_fitting import CrossFit
from relple_tf.training.preparation import initial_network, prepare
from relple_tf.training.reliability import fit_reliability
from relple_tf.training.stacking import PRIOR

CV_FOLDS = 3
SPLIT = np.array(["train"] * 60 + ["test"] * 20)
DIVIDED = np.tile(np.repeat(["a", "b", "c", "d"], 5), 4)
"""Groups that the split divides."""
WHOLE = np.repeat([f"field {i}" for i in range(8)], 10)
"""Groups that the split does not divide."""


def soils(groups=None):
    """80 soils with three absorptions, the first proportional to the targets; each group adds an offset to pH."""
    rng = np.random.default_rng(0)
    nm = np.arange(1300.0, 2400.0, 20.0)
    amount = rng.uniform(0.2, 1, 80)
    shape = np.stack([np.exp(-(((nm - centre) / 60) ** 2)) for centre in (1450, 1914, 2200)])
    mixed = np.column_stack([amount, rng.uniform(0.2, 1, (80, 2))]) @ shape
    spectra = 0.4 + 0.2 * mixed + rng.normal(0, 0.002, (80, len(nm)))
    group_number = 0.0 if groups is None else np.unique(groups, return_inverse=True)[1]
    targets = {"OC_g_kg": 5 + 10 * amount + rng.normal(0, 0.3, 80), "pH": 5 + amount + 0.3 * group_number}
    targets["OC_g_kg"][::9] = np.nan
    return SpectralLibrary(
        source="fields.csv",
        spectra=spectra.astype("float32"),
        wavelengths_nm=nm,
        quantity="absorbance",
        targets=targets,
        ids=np.array([f"soil {i}" for i in range(80)]),
        groups=groups,
    ).checked()


WITH_FOLDS = changed(CONFIG, training__cv_folds=CV_FOLDS)


@pytest.fixture(scope="module", params=[DIVIDED, WHOLE, None], ids=["divided", "whole", "no groups"])
def grouped(request):
    library = soils(request.param)
    prepared = prepare(library, SPLIT, WITH_FOLDS)
    return library, prepared, plsr_baseline(library, SPLIT, prepared, WITH_FOLDS)


def test_whole_groups_are_left_out_only_if_the_split_divides_groups(grouped):
    library, _, plsr = grouped
    divided = library.groups is DIVIDED
    assert (set(plsr.new_groups) == set(library.targets)) is divided
    assert any("whole fields left out" in note for note in recommendations({}, plsr)) is divided


def test_plsr_is_cross_validated_in_the_folds_of_the_networks(grouped):
    library, prepared, plsr = grouped
    fold = development_folds(library, SPLIT, WITH_FOLDS.training.seed, CV_FOLDS)
    absorbance = front_end.apply(prepared.absorbance_stage, library.spectra)
    features = snv_first_derivative(
        absorbance, front_end.window_points(WITH_FOLDS.front_end), WITH_FOLDS.front_end.derivative_polynomial
    )
    for name, got in plsr.left_out.items():
        y, squares = library.targets[name], []
        for held in range(CV_FOLDS):
            fitted, left = ((fold >= 0) & (fold != held) & ~np.isnan(y), (fold == held) & ~np.isnan(y))
            model = PLSRegression(got.components).fit(features[fitted], got.scale.to_model(y[fitted]))
            squares += [*((got.scale.to_lab(model.predict(features[left]).ravel()) - y[left]) ** 2)]
        assert got.n == len(squares)
        assert got.rmse == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-5)


def test_leaving_out_whole_groups_lowers_r2_only_for_a_target_with_group_offsets():
    library = soils(DIVIDED)
    plsr = plsr_baseline(library, SPLIT, prepare(library, SPLIT, WITH_FOLDS), WITH_FOLDS)
    # The spectra depend on the amount, not on the group offsets, which are therefore unknown for a new group.
    assert plsr.new_groups["pH"].r2 < plsr.left_out["pH"].r2 < 0.7
    assert plsr.new_groups["OC_g_kg"].r2 == pytest.approx(plsr.left_out["OC_g_kg"].r2, abs=0.05)


def test_a_target_measured_in_a_single_group_is_not_cross_validated_by_group():
    library = soils(DIVIDED)
    library.targets["pH"][DIVIDED != "a"] = np.nan
    plsr = plsr_baseline(library, SPLIT, prepare(library, SPLIT, WITH_FOLDS), WITH_FOLDS)
    assert list(plsr.new_groups) == ["OC_g_kg"]


def test_the_learning_curve_falls_to_the_noise_of_the_target_and_to_nothing_below():
    """A target that the features determine, one with noise of SD 0.5 in addition, and one that is noise alone."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 12))
    exact = features @ rng.uniform(0.5, 1.5, 12)
    noise = rng.normal(0, 0.5, 200)
    targets = {"exact": exact, "noisy": exact + noise, "noise": noise}
    scales = tuple(
        TargetScale(name=name, root=False, mean=y.mean(), sd=y.std(), low=-99.0, high=99.0, non_negative=False)
        for name, y in targets.items()
    )
    curves = learning_curve(features, targets, np.arange(200), scales, seed=0)
    for curve in curves.values():
        assert list(curve) == [40, 80, 120, 160]
    rmse = {name: np.array([*curve.values()]) for name, curve in curves.items()}
    np.testing.assert_allclose(rmse["exact"], 0.0, atol=1e-6)
    assert (np.diff(rmse["noisy"]) < 0).all()
    # Least squares with p parameters and n rows: sigma * sqrt(1 + p / (n - p - 1)), for 12 parameters and 160 rows.
    assert rmse["noisy"][-1] == pytest.approx(noise.std() * np.sqrt(1 + 12 / 147), rel=0.05)
    assert (rmse["noise"] >= noise.std()).all()


def test_subsets_of_the_learning_curve_are_nested_and_keep_groups_together():
    groups = np.repeat(np.arange(10), 4)
    rows = np.flatnonzero(np.arange(40) % 5 > 0)
    subsets = nested_subsets(rows, groups, 3)
    assert [len(subset) for subset in subsets] == [8, 16, 24, 32]
    for smaller, larger in itertools.pairwise(subsets):
        assert set(smaller) < set(larger) <= set(rows)
        counts = np.bincount(groups[smaller], minlength=10)
        # At most one group is divided.
        assert np.sum((counts > 0) & (counts < np.bincount(groups[rows], minlength=10))) <= 1
    assert any((nested_subsets(rows, groups, seed)[0] != subsets[0]).any() for seed in (4, 5))


def test_the_learning_curve_does_not_depend_on_test_soils():
    library = soils(None)
    curve = plsr_baseline(library, SPLIT, prepare(library, SPLIT, WITH_FOLDS), WITH_FOLDS).curve
    assert list(curve["pH"]) == [12, 24, 36, 48]  # 60 soils, of which each fold leaves out 12
    test = SPLIT == "test"
    library.spectra[test] = library.spectra[test][:, ::-1]
    for values in library.targets.values():
        values[test] = 99.0
    assert plsr_baseline(library, SPLIT, prepare(library, SPLIT, WITH_FOLDS), WITH_FOLDS).curve == curve


def test_a_target_with_too_few_soils_has_no_learning_curve():
    library = soils(None)
    library.targets["pH"][40:] = np.nan
    plsr = plsr_baseline(library, SPLIT, prepare(library, SPLIT, WITH_FOLDS), WITH_FOLDS)
    assert list(plsr.curve) == ["OC_g_kg"]


def baseline_with(rmse, r2=0.47, new_group_r2=None):
    scale = TargetScale(name="pH", root=False, mean=0.0, sd=1.0, low=-9.0, high=9.0, non_negative=False)
    cross_validated = CrossValidated(scale=scale, components=3, n=60, rmse=rmse, r2=r2)
    new_groups = {}
    if new_group_r2 is not None:
        new_groups["pH"] = CrossValidated(scale=scale, components=3, n=60, rmse=2.0, r2=new_group_r2)
    return PlsrBaseline(
        predictions={}, components={"pH": 3}, left_out={"pH": cross_validated}, new_groups=new_groups, curve={}
    )


@pytest.mark.parametrize(
    ("rmse", "recommended"),
    [(0.41, True), (0.45 * (1 - MARGIN) - 1e-6, True), (0.45 * (1 - MARGIN), False), (0.6, False)],
)
def test_plsr_is_recommended_if_its_rmse_is_lower_by_more_than_the_margin(rmse, recommended):
    notes = recommendations({"pH": {"rmse": 0.45}}, baseline_with(rmse))
    assert len(notes) == recommended
    if rmse == 0.41:
        assert notes == ("PLSR is more accurate for pH: cross-validated RMSE 0.410, the deployed model 0.450",)


def test_without_cross_validated_networks_there_is_no_recommendation():
    assert recommendations({}, baseline_with(0.01)) == ()


def test_the_note_on_groups_contains_both_scores():
    (note,) = recommendations({}, baseline_with(0.5, new_group_r2=-0.6))
    assert note == (
        "PLSR, cross-validated: pH R2 0.47 with fields divided, -0.60 with whole fields left out; "
        "expect the second value in a new field"
    )


def run(monkeypatch, folder, library, offset=1.0):
    """Train a run with an untrained network, whose out-of-fold predictions are the laboratory values plus `offset`."""

    def fit_model(library, parts, config, *, before_training, **_):
        prepared = prepare(library, parts, config)
        before_training(prepared)
        network = initial_network(prepared, config)
        history = pd.DataFrame({"epoch": [0, 1], "loss": [np.nan, 0.5], "validation_score": [0.0, 0.4]})
        for name in library.targets:
            history[f"validation_r2_{name}"], history[f"weight_{name}"] = [0.0, 0.4], [np.nan, 1.0]
        weights = dict.fromkeys(library.targets, PRIOR)
        predictions = {
            name: np.where(parts == "train", np.nan_to_num(values, nan=7.0) + offset, np.nan)
            for name, values in library.targets.items()
        }
        predictions["OC_g_kg"][3] += 90
        cross_fit = CrossFit(weights=weights, predictions=predictions, history=history)
        return FittedModel(
            config=config,
            parts=parts,
            prepared=prepared,
            network=network,
            weights=weights,
            model=deployed(prepared, config, network, weights, None),
            history=history,
            cross_fit=cross_fit,
            reliability=fit_reliability(library, parts, prepared, cross_fit, config),
        )

    monkeypatch.setattr(training_run, "fit_model", fit_model)
    monkeypatch.setattr(training_run, "divide", lambda *_: (SPLIT, ()))
    messages = []
    training_run.train_run(library, WITH_FOLDS, RunFolder(path=folder), notify=messages.append)
    return messages


def test_a_run_reports_recommendations_and_outliers(monkeypatch, tmp_path):
    messages = run(monkeypatch, tmp_path / "run", soils(DIVIDED))
    assert sum(note.startswith("PLSR is more accurate for OC_g_kg: cross-validated RMSE") for note in messages) == 1
    assert sum("whole fields left out" in note for note in messages) == 1
    table = pd.read_csv(tmp_path / "run" / "outliers.csv")
    assert list(table.columns) == [
        "id",
        "t2_by_limit",
        "q_by_limit",
        "OC_g_kg_studentised",
        "pH_studentised",
        "reason",
    ]
    assert "laboratory value of OC_g_kg does not fit" in table.set_index("id")["reason"]["soil 3"]
    assert set(table["id"]) <= set(soils().ids[SPLIT == "train"])
    text = (tmp_path / "run" / "report.html").read_text()
    assert "Not for new fields" in text
    assert all(note in text for note in messages if "is more accurate" in note)


@pytest.mark.slow
def test_test_values_do_not_change_recommendations_or_outliers(monkeypatch, tmp_path):
    clean, altered = soils(DIVIDED), soils(DIVIDED)
    altered.targets["OC_g_kg"][SPLIT == "test"] = np.linspace(1, 900, 20)
    altered.targets["pH"][SPLIT == "test"] = np.linspace(13, 2, 20)
    altered.spectra[SPLIT == "test"] = altered.spectra[SPLIT == "test"][:, ::-1]
    notes = [
        [note for note in run(monkeypatch, tmp_path / name, library, offset=1.0) if note.startswith("PLSR")]
        for name, library in (("clean", clean), ("altered", altered))
    ]
    assert notes[0] == notes[1]
    assert any("is more accurate for pH" in note for note in notes[0])
    tables = [(tmp_path / name / "outliers.csv").read_bytes() for name in ("clean", "altered")]
    assert tables[0] == tables[1]
