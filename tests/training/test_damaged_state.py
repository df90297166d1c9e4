"""Damaged files from which a comparison, a search or a training run is resumed are refused in one line."""

import copy
import json
import os

import numpy as np
import pytest
from conftest import CONFIG

from relple_tf.comparison import folder as comparison_folder
from relple_tf.config import Config
from relple_tf.config import replace as change
from relple_tf.config_text import from_toml, set_fields
from relple_tf.errors import InputError
from relple_tf.models.target_scaling import TargetScale
from relple_tf.runs.folder import RunFolder, open_run, read_config
from relple_tf.training.checkpoint import Checkpoints, load_state, save_state
from relple_tf.training.cross_fitting import cross_fit
from relple_tf.training.loop import train
from relple_tf.training.preparation import prepare
from tuning import folder as search_folder

DEEP = "[" * 200_000
ABSENT = object()


def refusal(call, *arguments, message=None, **options):
    with pytest.raises(InputError, match=message) as error:
        call(*arguments, **options)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "not TOML"),
        (b"[training]\nseed = " + b"[" * 200_000, "nested too deep"),
        (b"[training]\nseed = " + b"9" * 30, "expected an integer of 64 bits, received 30 digits"),
        (b"[training]\nseed = " + b"9" * 5000, "not TOML"),
        (b"[training]\nlearning_rate = " + b"9" * 400, "expected an integer of 64 bits"),
        (b"[training]\nlearning_rate = nan", "learning_rate: expected a value between"),
        (b"[training]\nlearning_rate = inf", "learning_rate: expected a value between"),
        (b"[training]\nlearning_rate = 1e999", "learning_rate: expected a value between"),
        (b"[training]\nseed = 1\nseed = 2", "not TOML"),
        (b"[training]\nseed = true", "expected int, received True"),
        (b"[front_end]\nchannels = [1]", "expected str, received 1"),
        (b"[model]\nconv_filters = [-9223372036854775809]", "64 bits"),
        (b"#" * (1 << 20) + b"#", "expected at most 1,048,576 bytes"),
    ],
)
def test_a_hostile_config_is_refused(tmp_path, content, message):
    file = tmp_path / "config.toml"
    file.write_bytes(content)
    assert str(file) in refusal(from_toml, file, message=message)


def test_a_config_without_end_is_refused(tmp_path):
    (tmp_path / "config.toml").symlink_to("/dev/zero")
    refusal(from_toml, tmp_path / "config.toml", message="expected at most 1,048,576 bytes")


def test_an_integer_of_a_flag_that_no_float_holds_is_refused():
    for value in ("9" * 400, "-" + "9" * 30, "9" * 5000):
        refusal(set_fields, Config(), [f"training.seed={value}"], message=r"training\.seed")
    assert set_fields(Config(), ["training.seed=7"]).training.seed == 7


def test_the_config_of_a_folder_is_a_regular_file(tmp_path):
    folder = RunFolder(path=tmp_path / "run")
    folder.begin(Config())
    config = folder.path / "config.toml"
    assert read_config(config) == Config()
    config.rename(tmp_path / "elsewhere")
    config.symlink_to(tmp_path / "elsewhere")
    for call in (lambda: read_config(config), lambda: open_run(folder.path, "", Config(), resume=True)):
        refusal(call, message="expected a regular file")


# Comparisons.

ROW = {"seed": 0, "fold": 0, "soils": 30, "model": "plsr", "target": "pH", "n": 12}
ROW |= dict.fromkeys(("r2", "rmse", "mae", "bias", "sep", "rpd", "rpiq", "ccc"), 0.5)
ROW |= {"coverage": None, "flagged": None, "fit_s": 0.1, "settings": ""}
PLAN = {"models": ["plsr", "svr"], "repeats": 2, "fingerprint": "0" * 64}


@pytest.fixture
def comparison(tmp_path):
    RunFolder(path=tmp_path / "run").begin(Config())
    (tmp_path / "run" / "plan.json").write_text(json.dumps(PLAN))
    return tmp_path / "run"


def altered(content, keys, value):
    """Copy `content` with another value at a path of keys."""
    content = copy.deepcopy(content)
    *parents, last = keys
    holder = content
    for key in parents:
        holder = holder[key]
    if value is ABSENT:
        del holder[last]
    else:
        holder[last] = value
    return content


def test_a_comparison_is_resumed_from_its_plan(comparison):
    plan = comparison_folder.read_plan(comparison)
    assert (list(plan.models), plan.repeats) == (["plsr", "svr"], 2)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        *((("models",), value) for value in ([], None, "plsr", {}, ABSENT)),
        *((("models", 0), value) for value in (None, 3, [], "../../etc/passwd", "", "a/b")),
        *((("repeats",), value) for value in (0, -1, 1.5, "2", None, 10**400, ABSENT)),
        *((("fingerprint",), value) for value in (None, 3, "", ABSENT)),
    ],
)
def test_a_hostile_plan_of_a_comparison_is_refused(comparison, keys, value):
    (comparison / "plan.json").write_text(json.dumps(altered(PLAN, keys, value)))
    assert "plan.json" in refusal(comparison_folder.read_plan, comparison)


@pytest.mark.parametrize("text", ["", "{", "null", "[]", DEEP, '{"models": NaN}'])
def test_a_file_that_is_no_plan_is_refused(comparison, text):
    (comparison / "plan.json").write_text(text)
    assert "plan.json" in refusal(comparison_folder.read_plan, comparison)
    assert "plan.json" in refusal(search_folder.read_plan, comparison)


def test_a_model_of_a_plan_without_its_config_is_refused(comparison):
    (comparison / "plan.json").write_text(json.dumps(PLAN | {"models": ["rs_ple_nano"]}))
    refusal(comparison_folder.read_plan, comparison, message=r"rs_ple_nano\.toml: No such file")


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        *(((0, name), ABSENT) for name in ROW),
        *(((0, name), "text\ud800") for name in ROW),
        *(((0, name), []) for name in ROW),
        ((0, "r2"), 10**400),
        ((0,), None),
    ],
)
def test_a_hostile_result_of_a_job_is_refused(tmp_path, keys, value):
    file = tmp_path / "seed0-plsr.json"
    file.write_text(json.dumps([ROW]))
    assert comparison_folder.read_job(file) == [ROW]
    file.write_text(json.dumps(altered([ROW], keys, value)))
    assert "--resume, which repeats this job" in refusal(comparison_folder.read_job, file)


# Searches.

SEARCH = {"algorithm": "random", "trials": 3, "max_flash": None, "max_arena": 4096, "data_sha256": "0" * 64}
SIZE = {"weights": 10, "flash_bytes": 10, "arena_bytes": 10}
JOURNAL = [
    {"draw": 0, "values": {}, "seed_state": 7, "size": SIZE, "rejected": 0},
    {"end": 0, "seconds": 1.5, "ended_s": 1.6, "score": 0.5, "r2": {"pH": 0.5}},
]


@pytest.fixture
def search(tmp_path):
    RunFolder(path=tmp_path / "run").begin(Config())
    (tmp_path / "run" / "plan.json").write_text(json.dumps(SEARCH))
    (tmp_path / "run" / "journal.json").write_text(json.dumps(JOURNAL))
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        *((("algorithm",), value) for value in ("other", None, ["random"], ABSENT)),
        *((("trials",), value) for value in (0, 1, -1, 2.5, "3", None, 10**400, ABSENT)),
        *((("max_flash",), value) for value in (0, -1, "64KiB", 1.5, ABSENT)),
        *((("data_sha256",), value) for value in ("", None, 3, ABSENT)),
    ],
)
def test_a_hostile_plan_of_a_search_is_refused(search, keys, value):
    assert search_folder.read_plan(search) == SEARCH
    (search / "plan.json").write_text(json.dumps(altered(SEARCH, keys, value)))
    assert "plan.json" in refusal(search_folder.read_plan, search)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        *(
            ((0, name), value)
            for name in ("draw", "seed_state", "rejected", "size")
            for value in ("1", -1, 1.5, None, [])
        ),
        *(((0, name), ABSENT) for name in ("values", "seed_state", "size", "rejected")),
        *(((0, "size", name), value) for name in SIZE for value in (-1, "10", None, ABSENT)),
        *(((1, name), value) for name in ("end", "seconds", "ended_s") for value in ("1", -1, None, [])),
        *(((1, "score"), value) for value in ("0.5", None, [], 10**400)),
        *(((1, "r2"), value) for value in (0.5, [], {"pH": "0.5"}, {"pH": None})),
        ((1, "message"), 3),
        ((1,), None),
        ((1,), {}),
    ],
)
def test_a_hostile_journal_is_refused(search, keys, value):
    assert search_folder.read_journal(search) == JOURNAL
    (search / "journal.json").write_text(json.dumps(altered(JOURNAL, keys, value)))
    assert "journal.json" in refusal(search_folder.read_journal, search)


# States of training.

FAST = change(CONFIG, model__architecture="shared_bottom", front_end__views=("snv_d1",))
TWO_FOLDS = change(FAST, training__cv_folds=2, training__workers=1, training__max_epochs=1)


@pytest.fixture(scope="module")
def prepared(library, parts):
    return prepare(library, parts, FAST)


@pytest.fixture(scope="module")
def state(prepared, tmp_path_factory):
    """Arrays and metadata of a training checkpoint."""
    path = tmp_path_factory.mktemp("state") / "checkpoint.npz"
    train(prepared, FAST, checkpoint=path, fingerprint="a1", stop_early=True, show=False)
    return load_state(path, "a1")


STATES = {
    "no weights": lambda arrays, facts: arrays.pop("state"),
    "no optimiser": lambda arrays, facts: arrays.pop("optimizer"),
    "no best weights": lambda arrays, facts: arrays.pop("best"),
    "a weight too few": lambda arrays, facts: arrays["state"].pop(),
    "a weight too many": lambda arrays, facts: arrays["best"].append(np.zeros(3)),
    "a weight of another shape": lambda arrays, facts: arrays["state"].__setitem__(0, np.zeros((2, 2, 2))),
    "a best weight of another shape": lambda arrays, facts: arrays["best"].__setitem__(0, np.zeros((2, 2, 2))),
    "a weight of text": lambda arrays, facts: arrays["state"].__setitem__(0, np.array("text")),
    "no history": lambda arrays, facts: facts.pop("history"),
    "an empty history": lambda arrays, facts: facts.update(history=[]),
    "a history of text": lambda arrays, facts: facts.update(history="text"),
    "a history of another network": lambda arrays, facts: facts["history"][0].update(other=1.0),
    "a score of text": lambda arrays, facts: facts["history"][0].update(loss="text"),
    "no best epoch": lambda arrays, facts: facts.pop("best_epoch"),
    "a best epoch beyond the last": lambda arrays, facts: facts.update(best_epoch=99),
    "a best epoch of text": lambda arrays, facts: facts.update(best_epoch="1"),
}


@pytest.mark.parametrize("name", STATES)
def test_a_hostile_state_is_refused(prepared, state, tmp_path, name):
    arrays, facts = copy.deepcopy(state)
    STATES[name](arrays, facts)
    path = tmp_path / "checkpoint.npz"
    save_state(path, arrays, facts)
    message = refusal(train, prepared, FAST, checkpoint=path, fingerprint="a1", stop_early=True, show=False)
    assert message.startswith(f"{path}: ")
    assert message.endswith("delete it; --resume then trains from the start")


@pytest.mark.parametrize("facts", ["", "[]", "{}", '{"format": 3}', '{"format": "3", "fingerprint": "a1"}', DEEP])
def test_hostile_facts_of_a_state_are_refused(tmp_path, facts):
    path = tmp_path / "checkpoint.npz"
    np.savez(path, facts=np.array(facts))
    refusal(load_state, path, "a1", message=r"checkpoint\.npz: .*delete it")


def test_a_state_that_is_no_regular_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "checkpoint.npz")
    refusal(load_state, tmp_path / "checkpoint.npz", "a1", message="expected a regular file")


@pytest.fixture(scope="module")
def folds(library, parts, tmp_path_factory):
    """A folder with the first of two folds."""
    folder = tmp_path_factory.mktemp("folds")
    scales = prepare(library, parts, TWO_FOLDS).scales
    cross_fit(library, parts, TWO_FOLDS, scales, checkpoints=Checkpoints(folder=folder, fingerprint="a1"), show=False)
    (folder / "fold-2.npz").unlink()
    return folder


@pytest.mark.parametrize(
    "damage",
    [
        lambda arrays, facts: arrays.clear(),
        lambda arrays, facts: arrays.update(predictions=[arrays["predictions"][0][:, 1:]]),
        lambda arrays, facts: arrays.update(predictions=[arrays["predictions"][0].astype(str)]),
        lambda arrays, facts: facts.pop("history"),
        lambda arrays, facts: facts.update(history=3),
        lambda arrays, facts: facts.update(history={"loss": [0.1]}),
        lambda arrays, facts: facts.update(history={"epoch": [0, 1], "loss": [0.1]}),
        lambda arrays, facts: facts.update(history={"epoch": [0], "loss": ["text"]}),
    ],
    ids=["no predictions", "a soil too few", "text", "no history", "a number", "no epochs", "ragged", "a loss of text"],
)
def test_a_hostile_fold_is_refused_before_training(library, parts, folds, tmp_path, damage):
    arrays, facts = load_state(folds / "fold-1.npz", "a1")
    damage(arrays, facts)
    save_state(tmp_path / "fold-1.npz", arrays, facts)
    checkpoints = Checkpoints(folder=tmp_path, fingerprint="a1")
    scales = tuple(TargetScale.fit(name, values) for name, values in library.targets.items())
    message = refusal(cross_fit, library, parts, TWO_FOLDS, scales, checkpoints=checkpoints, show=False)
    assert message.startswith(f"{tmp_path / 'fold-1.npz'}: ")
    assert not (tmp_path / "fold-2.npz").exists()
