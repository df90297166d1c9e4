"""Laws of cross-fitting: no soil is predicted by a network that has seen it, and nothing is done twice."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import CONFIG

from relple_tf.config import replace as change
from relple_tf.errors import InputError
from relple_tf.models.target_scaling import TargetScale
from relple_tf.pipeline import fit_model
from relple_tf.processes import ProcessDiedError
from relple_tf.spectra.splitting.folds import development_folds
from relple_tf.training import cross_fitting
from relple_tf.training import loop as fit
from relple_tf.training.checkpoint import Checkpoints, load_state, remove_checkpoints
from relple_tf.training.cross_fitting import (
    DivergedError,
    FoldFit,
    collect,
    cross_fit,
    development,
    fit_fold,
    to_lab,
)
from relple_tf.training.loop import TraceCache
from relple_tf.training.stacking import WEIGHTS, best_weight

TINY = change(
    CONFIG,
    model__architecture="shared_bottom",
    front_end__views=("snv_d1",),
    training__cv_folds=2,
    training__workers=1,
    training__max_epochs=2,
)
FOLDS = (0, 1)


def scales_of(library, parts):
    rows = parts != "test"
    return tuple(TargetScale.fit(name, values[rows]) for name, values in library.targets.items())


def crossed(library, parts, folder, fingerprint="one", config=TINY):
    folder.mkdir(exist_ok=True)
    checkpoints = Checkpoints(folder=folder, fingerprint=fingerprint)
    return cross_fit(library, parts, config, checkpoints=checkpoints, show=False)


def folds_in(folder, fingerprint="one"):
    checkpoints = Checkpoints(folder=folder, fingerprint=fingerprint)
    loaded = []
    for number in FOLDS:
        with np.load(checkpoints.fold(number)) as file:
            loaded.append(checkpoints.load_fold(number, file["predictions/0"].shape))
    return loaded


def fold_of(library, parts):
    return development_folds(library, parts, TINY.training.seed, 2)


def equal_folds(folder, other):
    for (before, old), (after, new) in zip(folds_in(folder), folds_in(other), strict=True):
        np.testing.assert_array_equal(after, before)
        pd.testing.assert_frame_equal(new, old)


@pytest.fixture(scope="module")
def done(library, parts, tmp_path_factory):
    """The folder of the folds, and their predictions together."""
    folder = tmp_path_factory.mktemp("folds")
    return folder, crossed(library, parts, folder)


def test_validation_rows_belong_to_the_development_set():
    parts = np.array(["train", "validation", "test", "", "validation"])
    assert development(parts).tolist() == ["train", "train", "test", "", "train"]


def test_every_row_of_the_development_set_is_predicted_once_and_no_other(library, parts, done):
    folder, found = done
    fold = fold_of(library, parts)
    assert sorted(set(fold.tolist())) == [-1, 0, 1]
    np.testing.assert_array_equal(fold == -1, parts == "test")
    for column, name in enumerate(library.targets):
        np.testing.assert_array_equal(np.isnan(found.predictions[name]), parts == "test")
        for number, (stacked, _) in enumerate(folds_in(folder)):
            assert stacked.shape == (len(WEIGHTS), np.sum(fold == number), 2)
            chosen = stacked[WEIGHTS.index(found.weights[name]), :, column]
            np.testing.assert_array_equal(found.predictions[name][fold == number], chosen)


def test_the_laboratory_values_of_a_soil_do_not_change_its_own_prediction(library, parts, done, tmp_path):
    """They change those of the other fold, whose network has learned from it."""
    soil, fold = 7, fold_of(library, parts)
    wild = {name: np.where(np.arange(60) == soil, 30 * values, values) for name, values in library.targets.items()}
    other = replace(library, targets=wild)
    crossed(other, parts, tmp_path)
    np.testing.assert_array_equal(fold_of(other, parts), fold)
    for number, ((old, _), (new, _)) in enumerate(zip(folds_in(done[0]), folds_in(tmp_path), strict=True)):
        if number == fold[soil]:
            np.testing.assert_array_equal(new, old)
        else:
            # By the kernel regression and by the network.
            assert (new[[0, -1]] != old[[0, -1]]).any(axis=(1, 2)).all()


def test_test_rows_are_never_read(library, parts, done, tmp_path):
    rows = parts == "test"
    poison = np.where(np.arange(60) % 2, np.nan, np.inf)
    spectra = np.where(rows, poison, 0)[:, None].astype("float32") + library.spectra
    targets = {name: np.where(rows, poison, values) for name, values in library.targets.items()}
    found = crossed(replace(library, spectra=spectra, targets=targets), parts, tmp_path)
    equal_folds(done[0], tmp_path)
    assert found.weights == done[1].weights


def test_a_target_may_have_no_value_in_a_fold(library, parts, tmp_path):
    """As where few fields were analysed for it: the network of that fold has no R2 of it, but predictions."""
    three = change(TINY, training__cv_folds=3)
    second = development_folds(library, parts, TINY.training.seed, 3) == 1
    cec = np.where(second, np.nan, library.targets["CEC_cmolc_kg"])
    found = crossed(replace(library, targets=library.targets | {"CEC_cmolc_kg": cec}), parts, tmp_path, config=three)
    assert np.isfinite(found.predictions["CEC_cmolc_kg"][second]).all()
    for number, (_, history) in enumerate(folds_in(tmp_path)):
        assert np.isfinite(history[["validation_score", "validation_r2_OC_g_kg"]].to_numpy()).all()
        assert (history["validation_r2_CEC_cmolc_kg"].isna() == (number == 1)).all()


def test_folds_differ_by_their_seeds(library, parts, monkeypatch):
    seeds = []

    def seen(library, parts, config):
        seeds.append(config.training.seed)
        raise KeyboardInterrupt

    monkeypatch.setattr(cross_fitting, "prepare", seen)
    shared = cross_fitting._Shared(
        library=library,
        parts=development(parts),
        fold=fold_of(library, parts),
        config=change(TINY, training__seed=2**31 - 1),
        traces=TraceCache(),
    )
    for number in FOLDS:
        with pytest.raises(KeyboardInterrupt):
            fit_fold(shared, number)
    assert seeds == [2**31 - 1, 0]


def test_folds_that_are_there_are_not_trained_again(library, parts, done, monkeypatch):
    folder, found = done
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert set(before) == {"fold-1.npz", "fold-2.npz"}
    monkeypatch.setattr(cross_fitting, "fit_fold", None)
    again = crossed(library, parts, folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert again.weights == found.weights
    assert again.history.equals(found.history)
    for name, values in found.predictions.items():
        np.testing.assert_array_equal(again.predictions[name], values)


def test_a_fold_that_is_missing_is_trained_to_the_same_bits(library, parts, done, tmp_path):
    folder, found = done
    (tmp_path / "fold-1.npz").write_bytes((folder / "fold-1.npz").read_bytes())
    again = crossed(library, parts, tmp_path)
    assert again.weights == found.weights
    assert again.history.equals(found.history)
    for name, values in found.predictions.items():
        np.testing.assert_array_equal(again.predictions[name], values)


def test_folds_of_other_data_are_refused_before_anything_is_trained(library, parts, done, tmp_path):
    (tmp_path / "fold-2.npz").write_bytes((done[0] / "fold-2.npz").read_bytes())
    with pytest.raises(InputError, match="the data or their split changed since this run was cut off"):
        crossed(library, parts, tmp_path, fingerprint="other")
    assert [path.name for path in tmp_path.iterdir()] == ["fold-2.npz"]


def test_two_processes_give_the_bits_of_one(library, parts, done, tmp_path):
    found = crossed(library, parts, tmp_path, config=change(TINY, training__workers=2))
    equal_folds(done[0], tmp_path)
    assert found.weights == done[1].weights


def test_a_process_that_dies_is_one_line_that_says_what_to_do(library, parts, tmp_path, monkeypatch):
    def die(*_, **__):
        raise ProcessDiedError

    monkeypatch.setattr(cross_fitting, "run_all", die)
    with pytest.raises(InputError, match=r"a process died.*--resume trains the others.*training\.workers=1"):
        crossed(library, parts, tmp_path)


def test_checkpoints_remove_their_own_files_only(tmp_path):
    for name in ("fold-1.npz", "fold-12.npz", "checkpoint.npz", "fold.csv", "model.keras"):
        (tmp_path / name).write_text("")
    remove_checkpoints(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"fold.csv", "model.keras"}


def synthetic(library, parts, fold):
    """Two folds whose kernel regression is right about OC and whose network is right about CEC."""
    draw = np.random.default_rng(0)
    left = []
    for number in FOLDS:
        rows = fold == number
        tried = np.empty((len(WEIGHTS), rows.sum(), 2))
        for column, values in enumerate(library.targets.values()):
            wrong = np.array(WEIGHTS) if column == 0 else 1 - np.array(WEIGHTS)
            wave = draw.uniform(1, 2, rows.sum())
            # A value that was not measured is estimated all the same.
            tried[:, :, column] = np.nan_to_num(values[rows], nan=1.0) * (1 + wrong[:, None] * wave)
        history = {"epoch": [0, 1], "loss": [np.nan, 1.0 + number], "validation_score": [0.1 * number, 0.5]}
        left.append(FoldFit(stacked=tried, history=pd.DataFrame(history)))
    return left


def test_weights_are_chosen_by_the_predictions_of_all_folds_and_histories_averaged(library, parts):
    fold = fold_of(library, parts)
    left = synthetic(library, parts, fold)
    found = collect(library, fold, left)
    assert found.weights == {"OC_g_kg": 0.0, "CEC_cmolc_kg": 1.0}
    for name, values in library.targets.items():
        rows = (fold >= 0) & ~np.isnan(values)
        np.testing.assert_array_equal(found.predictions[name][rows], values[rows])
        assert np.isnan(found.predictions[name][fold < 0]).all()
    assert found.history["epoch"].tolist() == [0, 1]
    np.testing.assert_allclose(found.history["loss"], [np.nan, 1.5])
    np.testing.assert_allclose(found.history["validation_score"], [0.05, 0.5])


def test_weights_are_chosen_in_laboratory_units(library, parts):
    fold = fold_of(library, parts)
    left = synthetic(library, parts, fold)
    values = np.where(fold >= 0, library.targets["OC_g_kg"], np.nan)
    tried = np.full((len(WEIGHTS), len(fold)), np.nan)
    for fit_of_fold, number in zip(left, FOLDS, strict=True):
        # The kernel regression is better about low values, the network about high ones.
        # Logarithms would choose the former.
        own = values[fold == number]
        high = own > np.nanmedian(values)
        for weight, predictions in zip(WEIGHTS, fit_of_fold.stacked, strict=True):
            predictions[:, 0] = own * np.where(high, 1 + 0.5 * (1 - weight), 1 + 0.7 * weight)
        tried[:, fold == number] = fit_of_fold.stacked[:, :, 0]
    found = collect(library, fold, left)
    assert WEIGHTS.index(found.weights["OC_g_kg"]) == best_weight(values, tried)
    assert found.weights["OC_g_kg"] > 0.5
    assert WEIGHTS[best_weight(np.log1p(values), np.log1p(tried))] < 0.5


def test_predictions_that_are_not_finite_are_refused(library, parts):
    left = synthetic(library, parts, fold_of(library, parts))
    left[1].stacked[2, 3, 1] = np.nan
    with pytest.raises(DivergedError, match="CEC_cmolc_kg are not finite: training diverged"):
        collect(library, fold_of(library, parts), left)


def test_laboratory_units_are_those_of_each_target(library, parts):
    scales = scales_of(library, parts)
    modelled = np.random.default_rng(0).normal(size=(5, 4, 2))
    got = to_lab(scales, modelled)
    for column, scale in enumerate(scales):
        np.testing.assert_array_equal(got[..., column], scale.to_lab(modelled[..., column]))


def whole(library, parts, folder, config=TINY):
    """What a new process does: folds, then the final network."""
    folder.mkdir(exist_ok=True)
    return fit_model(library, parts, config, checkpoints=Checkpoints(folder=folder, fingerprint="one"), show=False)


@pytest.fixture(scope="module")
def final(library, parts, done, tmp_path_factory):
    """The fitted model, with the folds of `done`, and its folder."""
    folder = tmp_path_factory.mktemp("final")
    for path in done[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder, whole(library, parts, folder)


def same_fit(one, other):
    assert one.weights == other.weights
    pd.testing.assert_frame_equal(one.history, other.history)
    for a, b in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_final_network_learns_from_validation_rows_to_the_end_and_takes_the_weights(library, parts, done, final):
    fitted = final[1]
    assert len(fitted.prepared.train_values) == np.sum(parts != "test")
    assert len(fitted.prepared.validation_values) == 0
    assert fitted.history["epoch"].tolist() == [0, 1, 2]
    assert fitted.weights == fitted.cross_fit.weights
    for name, values in done[1].predictions.items():
        np.testing.assert_array_equal(fitted.cross_fit.predictions[name], values)


def test_folds_learn_from_validation_rows_do_not_stop_early_and_leave_the_final_network_as_it_is(
    library, parts, done, final, tmp_path
):
    """Patience of one epoch would end a training that the validation rows stop. `final` had its folds given."""
    fitted = whole(library, parts, tmp_path, change(TINY, training__patience=1))
    equal_folds(done[0], tmp_path)
    for _, history in folds_in(tmp_path):
        assert history["epoch"].tolist() == [0, 1, 2]
    same_fit(fitted, final[1])


def test_a_run_that_was_cut_off_after_its_folds_ends_at_the_same_bits(library, parts, final, tmp_path, monkeypatch):
    folder, fitted = final
    for number in FOLDS:
        name = f"fold-{number + 1}.npz"
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    on_epoch_end = fit.Monitor.on_epoch_end

    def killed(self, epoch, logs=None):
        on_epoch_end(self, epoch, logs)
        raise KeyboardInterrupt

    monkeypatch.setattr(cross_fitting, "fit_fold", None)
    monkeypatch.setattr(fit.Monitor, "on_epoch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        whole(library, parts, tmp_path)
    assert len(load_state(tmp_path / "checkpoint.npz", "one")[1]["history"]) == 1 + 1
    monkeypatch.setattr(fit.Monitor, "on_epoch_end", on_epoch_end)
    same_fit(whole(library, parts, tmp_path), fitted)


def test_without_folds_validation_rows_choose_and_nothing_is_cross_fitted(library, parts, tmp_path):
    config = change(TINY, training__cv_folds=0, training__max_epochs=1)
    fitted = whole(library, parts, tmp_path, config)
    assert fitted.cross_fit is None
    assert fitted.reliability.intervals == {}
    assert len(fitted.prepared.validation_values) == np.sum(parts == "validation")
    assert set(fitted.weights.values()) <= set(WEIGHTS)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.npz"}


def test_without_checkpoints_nothing_is_written_and_the_fit_is_the_same(library, parts, final, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    same_fit(fit_model(library, parts, TINY, show=False), final[1])
    assert list(tmp_path.iterdir()) == []
