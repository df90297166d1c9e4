"""Laws of the networks that leave a fold out: nobody is estimated by who has seen it, and nothing is done twice."""

from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import CONFIG

from relple_tf.command_line import import_tensorflow
from relple_tf.config import replace as change
from relple_tf.errors import InputError
from relple_tf.models.lab_units import TargetScale
from relple_tf.spectra.folds import learning_folds
from relple_tf.training import fit, members
from relple_tf.training.checkpoint import load_state
from relple_tf.training.fit import seed_everything
from relple_tf.training.members import collect, cross_fit, fit_all, forget, learning, to_lab
from relple_tf.training.mixing import SHARES, best_share
from relple_tf.training.preparation import prepare

TINY = change(
    CONFIG,
    model__architecture="shared_bottom",
    front_end__views=("snv_d1",),
    training__members=2,
    training__workers=1,
    training__max_epochs=2,
)
FOLDS = (0, 1)


def scales_of(library, parts):
    rows = parts != "test"
    return tuple(TargetScale.fit(name, values[rows]) for name, values in library.targets.items())


def crossed(library, parts, folder, fingerprint="one", config=TINY):
    folder.mkdir(exist_ok=True)
    return cross_fit(library, parts, config, folder, fingerprint, import_tensorflow)


def states(folder, fingerprint="one"):
    return [load_state(folder / f"member-{member + 1}.npz", fingerprint) for member in FOLDS]


def fold_of(library, parts):
    return learning_folds(library, parts, TINY.training.seed, 2)


@pytest.fixture(scope="module")
def done(library, parts, tmp_path_factory):
    """The members' folder, and what they say together."""
    folder = tmp_path_factory.mktemp("members")
    return folder, crossed(library, parts, folder)


def test_validation_rows_are_learned_from():
    parts = np.array(["train", "validation", "test", "", "validation"])
    assert learning(parts).tolist() == ["train", "train", "test", "", "train"]


def test_every_learning_row_is_estimated_once_and_no_other(library, parts, done):
    folder, found = done
    fold = fold_of(library, parts)
    assert sorted(set(fold.tolist())) == [-1, 0, 1]
    np.testing.assert_array_equal(fold == -1, parts == "test")
    for column, name in enumerate(library.targets):
        np.testing.assert_array_equal(np.isnan(found.estimates[name]), parts == "test")
        for member, (arrays, _) in enumerate(states(folder)):
            (tried,) = arrays["estimates"]
            assert tried.shape == (len(SHARES), np.sum(fold == member), 2)
            chosen = tried[SHARES.index(found.shares[name]), :, column]
            np.testing.assert_array_equal(found.estimates[name][fold == member], chosen)


def test_what_the_laboratory_says_of_a_soil_does_not_move_its_own_estimate(library, parts, done, tmp_path):
    """It moves those of the other fold, whose member has learned from it."""
    soil, fold = 7, fold_of(library, parts)
    wild = {name: np.where(np.arange(60) == soil, 30 * values, values) for name, values in library.targets.items()}
    other = replace(library, targets=wild)
    crossed(other, parts, tmp_path)
    np.testing.assert_array_equal(fold_of(other, parts), fold)
    for member, (before, after) in enumerate(zip(states(done[0]), states(tmp_path), strict=True)):
        (old,), (new,) = before[0]["estimates"], after[0]["estimates"]
        if member == fold[soil]:
            np.testing.assert_array_equal(new, old)
        else:
            # By machine and by tower.
            assert (new[[0, -1]] != old[[0, -1]]).any(axis=(1, 2)).all()


def test_test_rows_are_never_read(library, parts, done, tmp_path):
    rows = parts == "test"
    poison = np.where(np.arange(60) % 2, np.nan, np.inf)
    spectra = np.where(rows, poison, 0)[:, None].astype("float32") + library.spectra
    targets = {name: np.where(rows, poison, values) for name, values in library.targets.items()}
    found = crossed(replace(library, spectra=spectra, targets=targets), parts, tmp_path)
    for before, after in zip(states(done[0]), states(tmp_path), strict=True):
        np.testing.assert_array_equal(after[0]["estimates"], before[0]["estimates"])
        assert after[1] == before[1]
    assert found.shares == done[1].shares


def test_a_target_may_have_no_value_in_a_fold(library, parts, tmp_path):
    """As where few fields were analysed for it: the member of that fold has no R2 of it, but estimates."""
    three = change(TINY, training__members=3)
    second = learning_folds(library, parts, TINY.training.seed, 3) == 1
    cec = np.where(second, np.nan, library.targets["CEC_cmolc_kg"])
    found = crossed(replace(library, targets=library.targets | {"CEC_cmolc_kg": cec}), parts, tmp_path, config=three)
    assert np.isfinite(found.estimates["CEC_cmolc_kg"][second]).all()
    for member, (_, facts) in enumerate(states(tmp_path)):
        history = pd.DataFrame(facts["history"])
        assert np.isfinite(history[["validation_score", "validation_r2_OC_g_kg"]].to_numpy()).all()
        assert (history["validation_r2_CEC_cmolc_kg"].isna() == (member == 1)).all()


def test_members_differ_by_their_seeds(library, parts, tmp_path, monkeypatch):
    seeds = []

    def seen(library, parts, config):
        seeds.append(config.training.seed)
        raise KeyboardInterrupt

    monkeypatch.setattr(members, "prepare", seen)
    shared = members._Shared(
        library=library,
        parts=learning(parts),
        fold=fold_of(library, parts),
        config=change(TINY, training__seed=2**31 - 1),
        folder=tmp_path,
        fingerprint="one",
    )
    for member in FOLDS:
        with pytest.raises(KeyboardInterrupt):
            members.train_member(shared, member)
    assert seeds == [2**31 - 1, 0]


def test_members_that_are_there_are_not_trained_again(library, parts, done, monkeypatch):
    folder, found = done
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert set(before) == {"member-1.npz", "member-2.npz"}
    monkeypatch.setattr(members, "train_member", None)
    again = crossed(library, parts, folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert again.shares == found.shares
    assert again.history.equals(found.history)
    for name, values in found.estimates.items():
        np.testing.assert_array_equal(again.estimates[name], values)


def test_a_member_that_is_missing_is_trained_to_the_same_bits(library, parts, done, tmp_path):
    folder, found = done
    (tmp_path / "member-1.npz").write_bytes((folder / "member-1.npz").read_bytes())
    again = crossed(library, parts, tmp_path)
    assert again.shares == found.shares
    assert again.history.equals(found.history)
    for name, values in found.estimates.items():
        np.testing.assert_array_equal(again.estimates[name], values)


def test_members_of_other_data_are_refused_before_anything_is_trained(library, parts, done, tmp_path):
    (tmp_path / "member-2.npz").write_bytes((done[0] / "member-2.npz").read_bytes())
    with pytest.raises(InputError, match="the data or their split changed since this run was cut off"):
        crossed(library, parts, tmp_path, fingerprint="other")
    assert [path.name for path in tmp_path.iterdir()] == ["member-2.npz"]


def test_two_processes_give_the_bits_of_one(library, parts, done, tmp_path):
    found = crossed(library, parts, tmp_path, config=change(TINY, training__workers=2))
    for before, after in zip(states(done[0]), states(tmp_path), strict=True):
        np.testing.assert_array_equal(after[0]["estimates"], before[0]["estimates"])
        assert after[1] == before[1]
    assert found.shares == done[1].shares


def test_a_process_that_dies_is_one_line_that_says_what_to_do(library, parts, tmp_path, monkeypatch):
    def die(*_, **__):
        raise BrokenProcessPool

    monkeypatch.setattr(members, "run_all", die)
    with pytest.raises(InputError, match=r"a process died.*--resume trains the others.*training\.workers=1"):
        crossed(library, parts, tmp_path)


def test_the_folder_forgets_the_members_only(tmp_path):
    for name in ("member-1.npz", "member-12.npz", "checkpoint.npz", "member.csv"):
        (tmp_path / name).write_text("")
    forget(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.npz", "member.csv"}


def synthetic(library, parts, fold):
    """What two members would leave whose machine is right about OC and whose tower is right about CEC."""
    draw = np.random.default_rng(0)
    left = []
    for member in FOLDS:
        rows = fold == member
        tried = np.empty((len(SHARES), rows.sum(), 2))
        for column, values in enumerate(library.targets.values()):
            wrong = np.array(SHARES) if column == 0 else 1 - np.array(SHARES)
            wave = draw.uniform(1, 2, rows.sum())
            # A value that was not measured is estimated all the same.
            tried[:, :, column] = np.nan_to_num(values[rows], nan=1.0) * (1 + wrong[:, None] * wave)
        history = {"epoch": [0, 1], "loss": [np.nan, 1.0 + member], "validation_score": [0.1 * member, 0.5]}
        left.append(({"estimates": [tried]}, {"history": history}))
    return left


def test_shares_are_chosen_by_the_estimates_of_all_folds_and_histories_averaged(library, parts):
    fold = fold_of(library, parts)
    left = synthetic(library, parts, fold)
    found = collect(library, fold, left)
    assert found.shares == {"OC_g_kg": 0.0, "CEC_cmolc_kg": 1.0}
    for name, values in library.targets.items():
        rows = (fold >= 0) & ~np.isnan(values)
        np.testing.assert_array_equal(found.estimates[name][rows], values[rows])
        assert np.isnan(found.estimates[name][fold < 0]).all()
    assert found.history["epoch"].tolist() == [0, 1]
    np.testing.assert_allclose(found.history["loss"], [np.nan, 1.5])
    np.testing.assert_allclose(found.history["validation_score"], [0.05, 0.5])


def test_shares_are_chosen_in_laboratory_units(library, parts):
    fold = fold_of(library, parts)
    left = synthetic(library, parts, fold)
    values = np.where(fold >= 0, library.targets["OC_g_kg"], np.nan)
    tried = np.full((len(SHARES), len(fold)), np.nan)
    for (arrays, _), member in zip(left, FOLDS, strict=True):
        # The machine is better about low values, the tower about high ones: logarithms would choose the former.
        own = values[fold == member]
        high = own > np.nanmedian(values)
        for share, estimates in zip(SHARES, arrays["estimates"][0], strict=True):
            estimates[:, 0] = own * np.where(high, 1 + 0.5 * (1 - share), 1 + 0.7 * share)
        tried[:, fold == member] = arrays["estimates"][0][:, :, 0]
    found = collect(library, fold, left)
    assert SHARES.index(found.shares["OC_g_kg"]) == best_share(values, tried)
    assert found.shares["OC_g_kg"] > 0.5
    assert SHARES[best_share(np.log1p(values), np.log1p(tried))] < 0.5


def test_laboratory_units_are_those_of_each_target(library, parts):
    scales = scales_of(library, parts)
    modelled = np.random.default_rng(0).normal(size=(5, 4, 2))
    got = to_lab(scales, modelled)
    for column, scale in enumerate(scales):
        np.testing.assert_array_equal(got[..., column], scale.to_lab(modelled[..., column]))


def whole(library, parts, folder, config=TINY):
    """What a new process does: members, then the final network."""
    folder.mkdir(exist_ok=True)
    seed_everything(config.training.seed)
    ready = prepare(library, parts, config)
    trained, found = fit_all(library, parts, ready, config, folder, "one", take_in=import_tensorflow)
    return ready, trained, found


@pytest.fixture(scope="module")
def final(library, parts, done, tmp_path_factory):
    """The final network, with the members of `done`, and its folder."""
    folder = tmp_path_factory.mktemp("final")
    for path in done[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder, *whole(library, learning(parts), folder)


def test_the_final_network_learns_from_validation_rows_to_the_end_and_takes_the_shares(library, parts, done, final):
    _, ready, trained, found = final
    assert len(ready.train_values) == np.sum(parts != "test")
    assert len(ready.validation_values) == 0
    assert trained.history["epoch"].tolist() == [0, 1, 2]
    assert trained.shares == found.shares
    for name, values in done[1].estimates.items():
        np.testing.assert_array_equal(found.estimates[name], values)


def test_members_learn_from_validation_rows_do_not_stop_early_and_leave_the_final_network_as_it_is(
    library, parts, done, final, tmp_path
):
    """Patience of one epoch would end a training that the validation rows stop. `final` had its members given."""
    _, trained, found = whole(library, learning(parts), tmp_path, change(TINY, training__patience=1))
    for before, after in zip(states(done[0]), states(tmp_path), strict=True):
        np.testing.assert_array_equal(after[0]["estimates"], before[0]["estimates"])
        assert after[1]["history"]["epoch"] == [0, 1, 2]
    assert found.history.equals(final[3].history)
    assert trained.history.equals(final[2].history)
    for a, b in zip(trained.network.get_weights(), final[2].network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_that_was_cut_off_after_its_members_ends_at_the_same_bits(library, parts, final, tmp_path, monkeypatch):
    folder, _, trained, _ = final
    for member in FOLDS:
        name = f"member-{member + 1}.npz"
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    on_epoch_end = fit.Monitor.on_epoch_end

    def killed(self, epoch, logs=None):
        on_epoch_end(self, epoch, logs)
        raise KeyboardInterrupt

    monkeypatch.setattr(members, "train_member", None)
    monkeypatch.setattr(fit.Monitor, "on_epoch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        whole(library, learning(parts), tmp_path)
    assert len(load_state(tmp_path / "checkpoint.npz", "one")[1]["history"]) == 1 + 1
    monkeypatch.setattr(fit.Monitor, "on_epoch_end", on_epoch_end)
    _, again, _ = whole(library, learning(parts), tmp_path)
    assert again.shares == trained.shares
    assert again.history.equals(trained.history)
    for a, b in zip(again.network.get_weights(), trained.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_members_validation_rows_choose_and_nothing_is_crossed(library, parts, tmp_path):
    config = change(TINY, training__members=0, training__max_epochs=1)
    ready, trained, found = whole(library, parts, tmp_path, config)
    assert found is None
    assert len(ready.validation_values) == np.sum(parts == "validation")
    assert set(trained.shares.values()) <= set(SHARES)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.npz"}
