"""Laws of what a user hears before using the network, and of PLSR beside it."""

import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import CONFIG
from sklearn.cross_decomposition import PLSRegression

from relple_tf import training_run as calibration
from relple_tf.baselines.plsr import FOLDS, CrossValidated, cross_validated, snv_first_derivative
from relple_tf.baselines.plsr_baseline import PlsrBaseline, nested, plsr_baseline
from relple_tf.config import replace as changed
from relple_tf.evaluation.recommendations import MARGIN, recommendations
from relple_tf.models import front_end
from relple_tf.models.target_scaling import TargetScale
from relple_tf.pipeline import FittedModel, deployed
from relple_tf.runs.folder import RunFolder
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.folds import development_folds, group_k_fold
from relple_tf.spectra.splitting.grouping import whole_groups
from relple_tf.training.cross_fitting import CrossFit
from relple_tf.training.preparation import initial_network, prepare
from relple_tf.training.reliability import fit_reliability

MEMBERS = 3
SPLIT = np.array(["train"] * 60 + ["test"] * 20)
ACROSS = np.tile(np.repeat(["a", "b", "c", "d"], 5), 4)
"""Groups that the split divides."""
WHOLE = np.repeat([f"field {i}" for i in range(8)], 10)
"""Groups that it leaves whole."""


def soils(groups=None):
    """80 soils of one mixed band, the share of which is the value; every group has an offset of its own in pH."""
    draw = np.random.default_rng(0)
    nm = np.arange(1300.0, 2400.0, 20.0)
    amount = draw.uniform(0.2, 1, 80)
    shape = np.stack([np.exp(-(((nm - centre) / 60) ** 2)) for centre in (1450, 1914, 2200)])
    mixed = np.column_stack([amount, draw.uniform(0.2, 1, (80, 2))]) @ shape
    spectra = 0.4 + 0.2 * mixed + draw.normal(0, 0.002, (80, len(nm)))
    offset = 0.0 if groups is None else np.unique(groups, return_inverse=True)[1]
    targets = {"OC_g_kg": 5 + 10 * amount + draw.normal(0, 0.3, 80), "pH": 5 + amount + 0.3 * offset}
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


CROSSED = changed(CONFIG, training__cv_folds=MEMBERS)


@pytest.fixture(scope="module", params=[ACROSS, WHOLE, None], ids=["divided", "whole", "no groups"])
def grouped(request):
    library = soils(request.param)
    prepared = prepare(library, SPLIT, CROSSED)
    return library, prepared, plsr_baseline(library, SPLIT, prepared, CROSSED)


def test_new_groups_are_asked_exactly_where_the_split_divides_groups(grouped):
    library, _, found = grouped
    divided = library.groups is ACROSS
    assert (set(found.new_groups) == set(library.targets)) is divided
    assert any("whole fields left out" in note for note in recommendations({}, found)) is divided


def test_plsr_is_cross_validated_in_the_folds_of_the_networks(grouped):
    library, prepared, found = grouped
    fold = development_folds(library, SPLIT, CROSSED.training.seed, MEMBERS)
    absorbance = front_end.apply(prepared.absorbance_stage, library.spectra)
    features = snv_first_derivative(
        absorbance, front_end.window_points(CROSSED.front_end), CROSSED.front_end.derivative_polynomial
    )
    for name, got in found.left_out.items():
        y, squares = library.targets[name], []
        for held in range(MEMBERS):
            fitted, left = ((fold >= 0) & (fold != held) & ~np.isnan(y), (fold == held) & ~np.isnan(y))
            model = PLSRegression(got.components).fit(features[fitted], got.scale.to_model(y[fitted]))
            squares += [*((got.scale.to_lab(model.predict(features[left]).ravel()) - y[left]) ** 2)]
        assert got.n == len(squares)
        assert got.rmse == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-5)


def test_whole_groups_left_out_cost_what_differs_between_groups():
    library = soils(ACROSS)
    found = plsr_baseline(library, SPLIT, prepare(library, SPLIT, CROSSED), CROSSED)
    # The spectra hold the amount, and nothing of the offsets: of these a mean over other groups knows nothing.
    assert found.new_groups["pH"].r2 < found.left_out["pH"].r2 < 0.7
    assert found.new_groups["OC_g_kg"].r2 == pytest.approx(found.left_out["OC_g_kg"].r2, abs=0.05)


def test_a_target_of_one_group_has_no_figure_for_new_ones():
    library = soils(ACROSS)
    library.targets["pH"][ACROSS != "a"] = np.nan
    found = plsr_baseline(library, SPLIT, prepare(library, SPLIT, CROSSED), CROSSED)
    assert list(found.new_groups) == ["OC_g_kg"]


def test_the_learning_curve_is_that_of_plsr_on_parts_of_the_other_folds():
    library = soils(None)
    prepared = prepare(library, SPLIT, CROSSED)
    found = plsr_baseline(library, SPLIT, prepared, CROSSED)
    learned = SPLIT != "test"
    absorbance = front_end.apply(prepared.absorbance_stage, library.spectra)
    features = snv_first_derivative(
        absorbance, front_end.window_points(CROSSED.front_end), CROSSED.front_end.derivative_polynomial
    )[learned]
    seed = CROSSED.training.seed
    units = whole_groups(library, SPLIT, 0.0)[learned]
    for scale in prepared.scales:
        values = library.targets[scale.name][learned]
        known = ~np.isnan(values)
        x, y, unit = features[known], values[known], units[known]
        folds = group_k_fold(unit, FOLDS, seed)
        for size, rmse in zip((0.25, 0.5, 0.75, 1.0), found.curve[scale.name].values(), strict=True):
            squares = []
            for number, (fitted, held) in enumerate(folds):
                order = np.random.default_rng([seed, number]).permutation(unit.max() + 1)
                part = np.sort(fitted[np.argsort(order[unit[fitted]])][: round(size * len(fitted))])
                best = cross_validated(x[part], y[part], unit[part], scale, seed)
                model = PLSRegression(best.components).fit(x[part], best.scale.to_model(y[part]))
                squares += [*((best.scale.to_lab(model.predict(x[held]).ravel()) - y[held]) ** 2)]
            assert rmse == pytest.approx(np.sqrt(np.mean(squares)))
        counts = [[round(size * len(fitted)) for fitted, _ in folds] for size in (0.25, 0.5, 0.75, 1.0)]
        assert list(found.curve[scale.name]) == [round(np.mean(one)) for one in counts]


def test_parts_of_the_learning_curve_are_nested_and_keep_units_together():
    units = np.repeat(np.arange(10), 4)
    rows = np.flatnonzero(np.arange(40) % 5 > 0)
    parts = nested(rows, units, 3)
    assert [len(part) for part in parts] == [8, 16, 24, 32]
    for smaller, larger in itertools.pairwise(parts):
        assert set(smaller) < set(larger) <= set(rows)
        counts = np.bincount(units[smaller], minlength=10)
        # At most one unit is cut.
        assert np.sum((counts > 0) & (counts < np.bincount(units[rows], minlength=10))) <= 1
    assert any((nested(rows, units, seed)[0] != parts[0]).any() for seed in (4, 5))


def test_the_learning_curve_reads_no_test_soil():
    library = soils(None)
    first = plsr_baseline(library, SPLIT, prepare(library, SPLIT, CROSSED), CROSSED).curve
    test = SPLIT == "test"
    library.spectra[test] = library.spectra[test][:, ::-1]
    for values in library.targets.values():
        values[test] = 99.0
    assert plsr_baseline(library, SPLIT, prepare(library, SPLIT, CROSSED), CROSSED).curve == first


def test_too_few_soils_have_no_learning_curve():
    library = soils(None)
    library.targets["pH"][40:] = np.nan
    found = plsr_baseline(library, SPLIT, prepare(library, SPLIT, CROSSED), CROSSED)
    assert list(found.curve) == ["OC_g_kg"]


def beside_of(rmse, r2=0.47, in_new=None):
    scale = TargetScale(name="pH", root=False, mean=0.0, sd=1.0, low=-9.0, high=9.0, non_negative=False)
    one = CrossValidated(scale=scale, components=3, n=60, rmse=rmse, r2=r2)
    groups = {} if in_new is None else {"pH": CrossValidated(scale=scale, components=3, n=60, rmse=2.0, r2=in_new)}
    return PlsrBaseline(predictions={}, components={"pH": 3}, left_out={"pH": one}, new_groups=groups, curve={})


@pytest.mark.parametrize(
    ("rmse", "advised"), [(0.41, True), (0.45 * (1 - MARGIN) - 1e-6, True), (0.45 * (1 - MARGIN), False), (0.6, False)]
)
def test_plsr_is_advised_exactly_where_its_error_is_clearly_smaller(rmse, advised):
    notes = recommendations({"pH": {"rmse": 0.45}}, beside_of(rmse))
    assert len(notes) == advised
    if rmse == 0.41:
        assert notes == ("PLSR serves better for pH: cross-validated RMSE 0.410 against 0.450 by the network",)


def test_without_networks_that_left_soils_out_nothing_is_advised():
    assert recommendations({}, beside_of(0.01)) == ()


def test_both_scores_stand_in_the_note_on_groups():
    (note,) = recommendations({}, beside_of(0.5, in_new=-0.6))
    assert note == (
        "PLSR, cross-validated: pH R2 0.47 with fields divided, -0.60 with whole fields left out: "
        "expect the latter in a new field"
    )


def run(monkeypatch, folder, library, offset=1.0):
    """A run whose network is not trained, and whose left-out estimates are `offset` beside the laboratory's."""

    def fit_model(library, parts, config, *, before_training, **_):
        prepared = prepare(library, parts, config)
        before_training(prepared)
        network = initial_network(prepared, config)
        history = pd.DataFrame({"epoch": [0, 1], "loss": [np.nan, 0.5], "validation_score": [0.0, 0.4]})
        for name in library.targets:
            history[f"validation_r2_{name}"], history[f"weight_{name}"] = [0.0, 0.4], [np.nan, 1.0]
        shares = dict.fromkeys(library.targets, 0.5)
        estimates = {
            name: np.where(parts == "train", np.nan_to_num(values, nan=7.0) + offset, np.nan)
            for name, values in library.targets.items()
        }
        estimates["OC_g_kg"][3] += 90
        crossed = CrossFit(weights=shares, predictions=estimates, history=history)
        return FittedModel(
            config=config,
            parts=parts,
            prepared=prepared,
            network=network,
            weights=shares,
            model=deployed(prepared, config, network, shares),
            history=history,
            cross_fit=crossed,
            reliability=fit_reliability(library, parts, prepared, crossed, 0),
        )

    monkeypatch.setattr(calibration, "fit_model", fit_model)
    monkeypatch.setattr(calibration, "divide", lambda *_: (SPLIT, ()))
    said = []
    calibration.train_run(library, CROSSED, RunFolder(path=folder), notify=said.append)
    return said


def test_a_run_says_its_advice_and_lists_its_outliers(monkeypatch, tmp_path):
    said = run(monkeypatch, tmp_path / "run", soils(ACROSS))
    assert sum(note.startswith("PLSR serves better for OC_g_kg: cross-validated RMSE") for note in said) == 1
    assert sum("whole fields left out" in note for note in said) == 1
    listed = pd.read_csv(tmp_path / "run" / "outliers.csv")
    assert list(listed.columns) == [
        "id",
        "t2_by_limit",
        "q_by_limit",
        "OC_g_kg_studentised",
        "pH_studentised",
        "reason",
    ]
    assert "laboratory value of OC_g_kg does not fit" in listed.set_index("id")["reason"]["soil 3"]
    assert set(listed["id"]) <= set(soils().ids[SPLIT == "train"])
    text = (tmp_path / "run" / "report.html").read_text()
    assert "Not for new fields" in text
    assert all(note in text for note in said if "serves better" in note)


@pytest.mark.parametrize("offset", [0.01, 1.0])
def test_test_values_do_not_change_the_advice(monkeypatch, tmp_path, offset):
    clean, poisoned = soils(ACROSS), soils(ACROSS)
    poisoned.targets["OC_g_kg"][SPLIT == "test"] = np.linspace(1, 900, 20)
    poisoned.targets["pH"][SPLIT == "test"] = np.linspace(13, 2, 20)
    poisoned.spectra[SPLIT == "test"] = poisoned.spectra[SPLIT == "test"][:, ::-1]
    told = [
        [note for note in run(monkeypatch, tmp_path / name, library, offset) if note.startswith("PLSR")]
        for name, library in (("clean", clean), ("poisoned", poisoned))
    ]
    assert told[0] == told[1]
    assert any("serves better for pH" in note for note in told[0]) is (offset == 1.0)
    lists = [(tmp_path / name / "outliers.csv").read_bytes() for name in ("clean", "poisoned")]
    assert lists[0] == lists[1]
