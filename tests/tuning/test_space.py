"""The search space: every draw is a valid Config, a file narrows it, inactive fields are not drawn."""

import pytest

from relple_tf.config import Config, replace
from relple_tf.errors import InputError
from relple_tf.zoo import PRESETS
from tuning.oracles import Oracle, config_of
from tuning.space import TrialRules, is_active, space_of, value_of


def space_file(tmp_path, text):
    path = tmp_path / "space.toml"
    path.write_text(text, encoding="utf-8")
    return path


def draws(space, count, algorithm="random", seed=0):
    oracle = Oracle(algorithm, space, trials=count, seed=seed, fits=lambda config: True)
    values = []
    while (numbered := oracle.draw()) is not None:
        values.append(numbered[1].values)
    return values


@pytest.mark.parametrize("preset", PRESETS)
def test_trial_0_is_the_preset_itself(preset):
    base = PRESETS[preset]()
    space = space_of(base, None)
    assert space.start == base
    assert not space.notes
    for parameter in space.parameters:
        value = value_of(base, parameter.field)
        assert value in parameter.options if parameter.options else parameter.low <= value <= parameter.high


@pytest.mark.parametrize("preset", ["rs_ple_base", "rs_ple_nano", "single_task_base"])
def test_every_draw_is_a_config_that_differs_from_trial_0_in_active_fields_only(preset):
    space = space_of(PRESETS[preset](), None)
    fields = {parameter.field: parameter for parameter in space.parameters}
    for values in draws(space, 300):
        config = config_of(space, values)
        for field, parameter in fields.items():
            if field in values:
                assert is_active(parameter, config), field
            else:
                assert not is_active(parameter, config), field
                assert value_of(config, field) == value_of(space.start, field)
        assert set(config.front_end.channels) == {
            c for view in value_of(config, "front_end.views") for c in view.split("+")
        }
        back = {field: value_of(config, field) for field in values}
        assert space.config(back) == config


def test_inactive_fields_are_not_drawn():
    seen = draws(space_of(Config(), None), 200)
    for values in seen:
        assert ("model.relevance" in values) == (values["model.architecture"] == "rs_ple")
        assert ("model.relevance_tau" in values) == (values.get("model.relevance") == "hard")
        assert ("model.relevance_beta" in values) == (values.get("model.relevance") == "soft")
        assert ("model.lstm_units" in values) == ("lstm" in values["model.expert_kind"])
    assert any("model.relevance_beta" in values for values in seen)


def test_a_space_file_narrows_fixes_and_adds_fields_and_gives_ranges(tmp_path):
    file = space_file(
        tmp_path,
        """
        [trial]
        folds = 2
        limit_s = 60
        [model]
        architecture = "ple"
        levels = [1, 3]
        conv_filters = [[4, 8], [8]]
        [front_end]
        views = ["snv", "d1"]
        step_nm = [4, 8.0]
        [training]
        learning_rate = {min = 0.001, max = 0.002}
        batch_size = {min = 10, max = 20}
        """,
    )
    space = space_of(Config(), file)
    assert space.rules == TrialRules(folds=2, limit_s=60)
    assert space.start.model.architecture == "ple"
    assert space.start.front_end.views == space.start.front_end.channels == ("snv", "d1")
    assert space.start.model.levels == 1
    assert space.start.training.learning_rate == 0.002
    assert any("model.levels 1 instead of 2" in note for note in space.notes)
    fields = {parameter.field for parameter in space.parameters}
    assert "front_end.step_nm" in fields
    assert not fields & {"model.architecture", "front_end.views", "model.relevance", "model.relevance_tau"}
    for values in draws(space, 60):
        config = config_of(space, values)
        assert config.model.levels in (1, 3)
        assert config.model.conv_filters in ((4, 8), (8,))
        assert config.front_end.step_nm in (4.0, 8.0)
        assert 0.001 <= config.training.learning_rate <= 0.002
        assert config.training.batch_size in range(10, 21)
        assert isinstance(config.training.batch_size, int)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("levels = 2", "no section 'levels'"),
        ("[data]\nsource = ['a']", "no section 'data'"),
        ("[model]\nlevel = [1]", "'level'"),
        ("[model]\nlevels = [1, 2.5]", "expected int"),
        ("[model]\nlevels = [0, 1]", "between 1 and 4096"),
        ("[model]\nlevels = []", "no options"),
        ("[model]\nrelevance = ['firm', 'soft']", "hard, soft"),
        ("[model]\nconv_filters = [[0]]", "positive"),
        ("[training]\nseed = [1, 2]", "chance"),
        ("[front_end]\nstop_nm = [1800, 2300]", "same bands"),
        ("[front_end]\nchannels = [['snv']]", "front_end.views"),
        ("[front_end]\nviews = [['snv', 'haze']]", "haze"),
        ("[training]\nlearning_rate = {min = 0.1}", "max"),
        ("[training]\nlearning_rate = {min = 0.1, max = 0.01}", "expected min below max"),
        ("[training]\nlearning_rate = {min = 0.1, max = 3.0}", "between 1e-07 and 1"),
        ("[training]\nweight_decay = {min = 0.0, max = 0.1, log = true}", "min above 0"),
        ("[training]\nbalancing = {min = 1, max = 2}", "balancing"),
        ("[trial]\nfolds = 1", "between 2 and 20"),
        ("[trial]\nfold = 3", "it has folds"),
        ("[trial]\nfolds = 'many'", "expected a number"),
        ("[model]\nlevels = ", "not TOML"),
        ("[model]\ntask_experts = [0, 1]\nshared_experts = [0, 1]", "exclude each other"),
        ("[model]\narchitecture = ['ple', 'single_task']\n[training]\nbalancing = ['equal', 'gradnorm']", "exclude"),
    ],
)
def test_a_wrong_space_file_is_refused_in_one_line(tmp_path, text, expected):
    file = space_file(tmp_path, text)
    with pytest.raises(InputError) as refused:
        space_of(Config(), file)
    assert expected in str(refused.value)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_space_with_all_fields_fixed_is_refused(tmp_path):
    fixed = {}
    for parameter in space_of(Config(), None).parameters:
        section, _, name = parameter.field.partition(".")
        value = value_of(Config(), parameter.field)
        text = list(value) if isinstance(value, tuple) else value
        fixed.setdefault(section, []).append(f"{name} = {text!r}")
    lines = [line for section, fields in fixed.items() for line in (f"[{section}]", *fields)]
    with pytest.raises(InputError, match="nothing to search"):
        space_of(Config(), space_file(tmp_path, "\n".join(lines)))


def test_the_default_space_includes_the_values_of_any_config():
    base = replace(Config(), model__expert_units=33, training__learning_rate=0.05)
    space = space_of(base, None)
    options = {parameter.field: parameter for parameter in space.parameters}
    assert space.start == base
    assert 33 in options["model.expert_units"].options
    assert options["training.learning_rate"].high == 0.05
