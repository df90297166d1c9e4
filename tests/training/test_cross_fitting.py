"""Properties of cross-fitting: no soil influences its out-of-fold prediction, and no fold is trained twice."""

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
from relple_tf.training import cross_fitting, loop
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
from relple_tf.training.stacking import fit_weights, stack

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


def cross_fit_in(library, parts, folder, fingerprint="a1", config=TINY):
    folder.mkdir(exist_ok=True)
    checkpoints = Checkpoints(folder=folder, fingerprint=fingerprint)
    return cross_fit(library, parts, config, scales_of(library, parts), checkpoints=checkpoints, show=False)


def folds_in(folder, fingerprint="a1"):
    checkpoints = Checkpoints(folder=folder, fingerprint=fingerprint)
    loaded = []
    for number in FOLDS:
        with np.load(checkpoints.fold(number)) as file:
            loaded.append(checkpoints.load_fold(number, file["predictions/0"].shape[1:]))
    return loaded


def fold_of(library, parts):
    return development_folds(library, parts, TINY.training.seed, 2)


def assert_equal_folds(folder, other):
    for (array, history), (expected, expected_history) in zip(folds_in(other), folds_in(folder), strict=True):
        np.testing.assert_array_equal(array, expected)
        pd.testing.assert_frame_equal(history, expected_history)


@pytest.fixture(scope="module")
def done(library, parts, tmp_path_factory):
    """The folder of the folds, and the cross-fit."""
    folder = tmp_path_factory.mktemp("folds")
    return folder, cross_fit_in(library, parts, folder)


def test_validation_rows_belong_to_the_development_set():
    parts = np.array(["train", "validation", "test", "", "validation"])
    assert development(parts).tolist() == ["train", "train", "test", "", "train"]


def test_exactly_the_rows_of_the_development_set_have_an_out_of_fold_prediction(library, parts, done):
    folder, crossed = done
    fold = fold_of(library, parts)
    assert sorted(set(fold.tolist())) == [-1, 0, 1]
    np.testing.assert_array_equal(fold == -1, parts == "test")
    for column, scale in enumerate(scales_of(library, parts)):
        name = scale.name
        np.testing.assert_array_equal(np.isnan(crossed.predictions[name]), parts == "test")
        for number, (predictions, _) in enumerate(folds_in(folder)):
            assert predictions.shape == (3, np.sum(fold == number), 2)
            stacked = stack(scale.to_model(predictions[:, :, column]), crossed.weights[name])
            np.testing.assert_allclose(crossed.predictions[name][fold == number], scale.to_lab(stacked))


def test_the_laboratory_values_of_a_soil_do_not_change_the_predictions_of_its_fold(library, parts, done, tmp_path):
    """They change those of the other fold, whose network is trained on the soil."""
    soil, fold = 7, fold_of(library, parts)
    changed = {name: np.where(np.arange(60) == soil, 30 * values, values) for name, values in library.targets.items()}
    other = replace(library, targets=changed)
    cross_fit_in(other, parts, tmp_path)
    np.testing.assert_array_equal(fold_of(other, parts), fold)
    both = zip(folds_in(done[0]), folds_in(tmp_path), strict=True)
    for number, ((before, _), (after, _)) in enumerate(both):
        if number == fold[soil]:
            np.testing.assert_array_equal(after, before)
        else:
            assert (after != before).any(axis=(1, 2)).all()


def test_test_rows_are_not_read(library, parts, done, tmp_path):
    rows = parts == "test"
    poison = np.where(np.arange(60) % 2, np.nan, np.inf)
    spectra = np.where(rows, poison, 0)[:, None].astype("float32") + library.spectra
    targets = {name: np.where(rows, poison, values) for name, values in library.targets.items()}
    crossed = cross_fit_in(replace(library, spectra=spectra, targets=targets), parts, tmp_path)
    assert_equal_folds(done[0], tmp_path)
    assert crossed.weights == done[1].weights


def test_a_target_may_have_no_value_in_a_fold(library, parts, tmp_path):
    """For example if it was measured in few fields: the fold network then has no R2 for the target, but predictions."""
    three_folds = change(TINY, training__cv_folds=3)
    second = development_folds(library, parts, TINY.training.seed, 3) == 1
    cec = np.where(second, np.nan, library.targets["CEC_cmolc_kg"])
    crossed = cross_fit_in(
        replace(library, targets=library.targets | {"CEC_cmolc_kg": cec}), parts, tmp_path, config=three_folds
    )
    assert np.isfinite(crossed.predictions["CEC_cmolc_kg"][second]).all()
    for number, (*_, history) in enumerate(folds_in(tmp_path)):
        assert np.isfinite(history[["validation_score", "validation_r2_OC_g_kg"]].to_numpy()).all()
        assert (history["validation_r2_CEC_cmolc_kg"].isna() == (number == 1)).all()


def test_each_fold_has_its_seed_modulo_2_to_the_31(library, parts, monkeypatch):
    seeds = []

    def record_seed(library, parts, config):
        seeds.append(config.training.seed)
        raise KeyboardInterrupt

    monkeypatch.setattr(cross_fitting, "prepare", record_seed)
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


def test_stored_folds_are_not_trained_again(library, parts, done, monkeypatch):
    folder, crossed = done
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert set(before) == {"fold-1.npz", "fold-2.npz"}
    monkeypatch.setattr(cross_fitting, "fit_fold", None)
    again = cross_fit_in(library, parts, folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert again.weights == crossed.weights
    assert again.history.equals(crossed.history)
    for name, values in crossed.predictions.items():
        np.testing.assert_array_equal(again.predictions[name], values)


def test_a_missing_fold_is_trained_to_the_same_result_bit_for_bit(library, parts, done, tmp_path):
    folder, crossed = done
    (tmp_path / "fold-1.npz").write_bytes((folder / "fold-1.npz").read_bytes())
    again = cross_fit_in(library, parts, tmp_path)
    assert again.weights == crossed.weights
    assert again.history.equals(crossed.history)
    for name, values in crossed.predictions.items():
        np.testing.assert_array_equal(again.predictions[name], values)


def test_folds_of_other_data_are_refused_before_training(library, parts, done, tmp_path):
    (tmp_path / "fold-2.npz").write_bytes((done[0] / "fold-2.npz").read_bytes())
    with pytest.raises(InputError, match="the data or their split changed since this run was interrupted"):
        cross_fit_in(library, parts, tmp_path, fingerprint="other")
    assert [path.name for path in tmp_path.iterdir()] == ["fold-2.npz"]


def test_two_processes_give_the_same_result_as_one_bit_for_bit(library, parts, done, tmp_path):
    crossed = cross_fit_in(library, parts, tmp_path, config=change(TINY, training__workers=2))
    assert_equal_folds(done[0], tmp_path)
    assert crossed.weights == done[1].weights


def test_a_process_that_dies_gives_an_error_that_names_the_remedy(library, parts, tmp_path, monkeypatch):
    def die(*_, **__):
        raise ProcessDiedError

    monkeypatch.setattr(cross_fitting, "run_all", die)
    with pytest.raises(InputError, match=r"a process died.*--resume trains the others.*training\.workers=1"):
        cross_fit_in(library, parts, tmp_path)
    # Without checkpoints, as in Python, there is nothing to resume.
    with pytest.raises(InputError, match=r"^a process died, [^-]*training\.workers=1 needs the least memory$"):
        cross_fitting.cross_fit(library, parts, TINY, scales_of(library, parts), show=False)


def test_only_checkpoint_files_are_removed(tmp_path):
    for name in ("fold-1.npz", "fold-12.npz", "checkpoint.npz", "fold.csv", "model.keras"):
        (tmp_path / name).write_text("")
    remove_checkpoints(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"fold.csv", "model.keras"}


def synthetic(library, parts, fold):
    """Two folds in which the network predicts CEC exactly, and no other member predicts anything."""
    rng = np.random.default_rng(0)
    fits = []
    for number in FOLDS:
        rows = fold == number
        predictions = np.empty((2, rows.sum(), 2))
        for column, values in enumerate(library.targets.values()):
            # There are also predictions where no value was measured.
            known = np.nan_to_num(values[rows], nan=1.0)
            predictions[:, :, column] = rng.permutation(known), known[::-1]
        predictions[0, :, 1] = np.nan_to_num(library.targets["CEC_cmolc_kg"][rows], nan=1.0)
        history = {"epoch": [0, 1], "loss": [np.nan, 1.0 + number], "validation_score": [0.1 * number, 0.5]}
        fits.append(FoldFit(predictions=predictions, history=pd.DataFrame(history)))
    return fits


def test_all_folds_together_determine_the_weights_and_their_histories_are_averaged(library, parts):
    fold, scales = fold_of(library, parts), scales_of(library, parts)
    fits = synthetic(library, parts, fold)
    crossed = collect(library, fold, fits, scales)
    predictions = np.full((2, len(fold), 2), np.nan)
    for number, fit in zip(FOLDS, fits, strict=True):
        predictions[:, fold == number] = fit.predictions
    for column, scale in enumerate(scales):
        known = fold >= 0
        modelled = scale.to_model(predictions[:, known, column])
        expected = fit_weights(scale.to_model(library.targets[scale.name][known]), modelled)
        assert crossed.weights[scale.name] == expected
        received = crossed.predictions[scale.name]
        np.testing.assert_allclose(received[known], scale.to_lab(stack(modelled, expected)))
        assert np.isnan(received[fold < 0]).all()
    assert crossed.weights["CEC_cmolc_kg"].network > 0.55
    assert crossed.weights["OC_g_kg"].network < 0.55
    assert crossed.history["epoch"].tolist() == [0, 1]
    np.testing.assert_allclose(crossed.history["loss"], [np.nan, 1.5])
    np.testing.assert_allclose(crossed.history["validation_score"], [0.05, 0.5])


def test_predictions_that_are_not_finite_are_refused(library, parts):
    fits = synthetic(library, parts, fold_of(library, parts))
    fits[1].predictions[1, 3, 1] = np.nan
    with pytest.raises(DivergedError, match="CEC_cmolc_kg are not finite: training diverged"):
        collect(library, fold_of(library, parts), fits, scales_of(library, parts))


def test_each_target_is_converted_with_its_scale(library, parts):
    scales = scales_of(library, parts)
    modelled = np.random.default_rng(0).normal(size=(5, 4, 2))
    got = to_lab(scales, modelled)
    for column, scale in enumerate(scales):
        np.testing.assert_array_equal(got[..., column], scale.to_lab(modelled[..., column]))


def fit_in(library, parts, folder, config=TINY):
    """Fit a model with checkpoints in `folder`."""
    folder.mkdir(exist_ok=True)
    return fit_model(library, parts, config, checkpoints=Checkpoints(folder=folder, fingerprint="a1"), show=False)


@pytest.fixture(scope="module")
def final(library, parts, done, tmp_path_factory):
    """The folder, and the model fitted with the stored folds of `done`."""
    folder = tmp_path_factory.mktemp("final")
    for path in done[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder, fit_in(library, parts, folder)


def assert_same_fit(fitted, expected):
    assert fitted.weights == expected.weights
    pd.testing.assert_frame_equal(fitted.history, expected.history)
    for a, b in zip(fitted.model.get_weights(), expected.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_final_network_trains_on_validation_rows_for_all_epochs_and_has_the_stacking_weights(
    library, parts, done, final
):
    fitted = final[1]
    assert len(fitted.prepared.train_values) == np.sum(parts != "test")
    assert len(fitted.prepared.validation_values) == 0
    assert fitted.history["epoch"].tolist() == [0, 1, 2]
    assert fitted.weights == fitted.cross_fit.weights
    for name, values in done[1].predictions.items():
        np.testing.assert_array_equal(fitted.cross_fit.predictions[name], values)


def test_fold_networks_do_not_stop_early_and_do_not_change_the_final_network(library, parts, done, final, tmp_path):
    """A patience of one epoch would end a training with early stopping. `final` read its folds from files."""
    fitted = fit_in(library, parts, tmp_path, change(TINY, training__patience=1))
    assert_equal_folds(done[0], tmp_path)
    for *_, history in folds_in(tmp_path):
        assert history["epoch"].tolist() == [0, 1, 2]
    assert_same_fit(fitted, final[1])


def test_a_run_interrupted_after_its_folds_ends_with_the_same_result_bit_for_bit(
    library, parts, final, tmp_path, monkeypatch
):
    folder, fitted = final
    for number in FOLDS:
        name = f"fold-{number + 1}.npz"
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    on_epoch_end = loop.Monitor.on_epoch_end

    def interrupt(self, epoch, logs=None):
        on_epoch_end(self, epoch, logs)
        raise KeyboardInterrupt

    monkeypatch.setattr(cross_fitting, "fit_fold", None)
    monkeypatch.setattr(loop.Monitor, "on_epoch_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit_in(library, parts, tmp_path)
    assert len(load_state(tmp_path / "checkpoint.npz", "a1")[1]["history"]) == 1 + 1
    monkeypatch.setattr(loop.Monitor, "on_epoch_end", on_epoch_end)
    assert_same_fit(fit_in(library, parts, tmp_path), fitted)


def test_without_folds_the_validation_part_stays_and_nothing_is_cross_fitted(library, parts, tmp_path):
    config = change(TINY, training__cv_folds=0, training__max_epochs=1)
    fitted = fit_in(library, parts, tmp_path, config)
    assert fitted.cross_fit is None
    assert fitted.reliability.intervals == {}
    assert len(fitted.prepared.validation_values) == np.sum(parts == "validation")
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.npz"}


def test_without_checkpoints_nothing_is_written_and_the_fit_is_the_same(library, parts, final, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_same_fit(fit_model(library, parts, TINY, show=False), final[1])
    assert list(tmp_path.iterdir()) == []
