"""Laws of the config: TOML round trip, --set, errors that name the accepted values."""

import ast
import dataclasses
import inspect
import itertools
import typing

import pytest

from relple_tf.config import (
    ARCHITECTURES,
    BALANCINGS,
    CHANNELS,
    EXPERT_KINDS,
    REPLICATES,
    Config,
    replace,
    sections,
)
from relple_tf.config_text import from_toml, set_fields, to_toml
from relple_tf.errors import InputError
from relple_tf.zoo import PRESETS

FIELDS = [
    (section, field.name, hint)
    for section, kind in sections().items()
    for field in dataclasses.fields(kind)
    for hint in [typing.get_type_hints(kind)[field.name]]
]


def read(tmp_path, text):
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return from_toml(path)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_the_name_of_their_function_and_survive_toml(preset, tmp_path):
    config = PRESETS[preset]()
    assert config.preset == preset
    assert PRESETS[preset].__doc__
    assert read(tmp_path, to_toml(config)) == config


def test_every_architecture_has_a_preset():
    assert {preset().model.architecture for preset in PRESETS.values()} == set(ARCHITECTURES)


def test_awkward_values_survive_toml(tmp_path):
    config = replace(
        Config(preset='a "quoted" \\ name'),
        data__source="C:\\soils\\ü #1.csv",
        data__targets=("OC_g_kg", "pH"),
        training__learning_rate=1e-05,
        training__schedule_start=(1.0, 0.5),
        training__tensorboard=True,
        model__conv_filters=(4,),
    )
    assert read(tmp_path, to_toml(config)) == config


def test_a_narrow_simulated_range_survives_toml(tmp_path):
    narrow = dataclasses.replace(Config().simulated, start_nm=2400.0, stop_nm=2410.0, step_nm=1.0)
    config = dataclasses.replace(Config(), simulated=narrow)
    assert read(tmp_path, to_toml(config)) == config


def test_a_newline_in_a_name_survives_toml(tmp_path):
    config = replace(Config(), data__source="a\nb.csv")
    assert read(tmp_path, to_toml(config)) == config


def test_an_empty_file_is_the_default(tmp_path):
    assert read(tmp_path, "") == Config()


def test_an_integer_is_accepted_for_a_float(tmp_path):
    config = read(tmp_path, "[front_end]\nstep_nm = 8")
    assert config.front_end.step_nm == 8.0
    assert isinstance(config.front_end.step_nm, float)


@pytest.mark.parametrize(("section", "name", "hint"), FIELDS, ids=[f"{s}.{n}" for s, n, _ in FIELDS])
def test_every_field_can_be_set_to_its_default(section, name, hint):
    default = getattr(getattr(Config(), section), name)
    text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
    config = set_fields(Config(), [f"{section}.{name}={text}"])
    assert config == Config()
    kind = tuple if typing.get_origin(hint) is tuple else hint
    assert type(getattr(getattr(config, section), name)) is kind


@pytest.mark.parametrize(
    ("assignment", "value"),
    {
        "model.levels=3": 3,
        "front_end.step_nm=8": 8.0,
        "training.learning_rate = 1e-3": 1e-3,
        "training.tensorboard=TRUE": True,
        "split.within_groups=false": False,
        "split.block_km=50": 50.0,
        "data.replicates=average": "average",
        "data.source='a=b.csv'": "a=b.csv",
        "front_end.channels=d1, snv_d2,absorbance,snv_d1": ("d1", "snv_d2", "absorbance", "snv_d1"),
        "front_end.views=d1, absorbance+snv_d2": ("d1", "absorbance+snv_d2"),
        "front_end.views=": (),
        "model.conv_filters=[4,8]": (4, 8),
        "training.schedule_decay=0.9,1": (0.9, 1.0),
        "data.targets=": (),
    }.items(),
)
def test_set_parses_each_type_of_field(assignment, value):
    section, _, name = assignment.partition("=")[0].strip().partition(".")
    parsed = getattr(getattr(set_fields(Config(), [assignment]), section), name)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("assignment", "expected"),
    {
        "model.levels": ("section.field=value",),
        "levels=1": ("section.field=value",),
        "net.levels=1": ("'net'", *sections()),
        "model.layers=1": ("'layers'", "levels", "task_experts", "relevance_tau"),
        "model.levels=two": ("int", "'two'"),
        "model.levels=1.5": ("int", "'1.5'"),
        "model.levels=0": ("model.levels", "between 1 and 4096", "0"),
        "training.tensorboard=yes": ("true or false", "'yes'"),
        "training.balancing=sum": ("'sum'", *BALANCINGS),
        "data.replicates=mean": ("'mean'", *REPLICATES),
        "split.block_km=-1": ("split.block_km", "between 0.001 and 10000", "-1"),
        "model.architecture=moe": ("'moe'", *ARCHITECTURES),
        "model.expert_kind=mlp": ("'mlp'", *EXPERT_KINDS),
        "front_end.channels=snv,d3": ("'d3'", *CHANNELS),
        "front_end.channels=snv,snv": ("each channel once", "snv, snv"),
        "front_end.channels=": ("empty", *CHANNELS),
        "front_end.channels=snv,d1": ("'absorbance' in 'absorbance+snv_d1'", "snv, d1", "--set front_end.views="),
        "front_end.views=d1,d1+snv": ("'snv' in 'd1+snv'", *Config().front_end.channels),
        "front_end.views=d1+": ("'' in 'd1+'",),
        "training.cv_folds=1": ("training.cv_folds", "between 2 and 50", "1"),
        "training.workers=-1": ("training.workers", "0", "-1"),
        "model.conv_filters=4,0": ("positive", "0"),
    }.items(),
)
def test_errors_name_the_value_and_the_accepted_values(assignment, expected):
    with pytest.raises(InputError) as refused:
        set_fields(Config(), [assignment])
    for words in expected:
        assert words in str(refused.value)


NUMBERS = [(s, n) for s, n, hint in FIELDS if hint is float or hint == tuple[float, ...]]


@pytest.mark.parametrize(("section", "name"), NUMBERS, ids=[f"{s}.{n}" for s, n in NUMBERS])
def test_nan_is_refused_everywhere(section, name, tmp_path):
    with pytest.raises(InputError, match="nan"):
        set_fields(Config(), [f"{section}.{name}=nan"])
    toml_value = "[nan]" if (section, name, float) not in FIELDS else "nan"
    with pytest.raises(InputError, match="nan"):
        read(tmp_path, f"[{section}]\n{name} = {toml_value}")


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "x = 1": ("'x'", "preset", "[model]"),
        "preset = 1": ("preset", "string"),
        "[net]\nlevels = 1": ("'net'", "model"),
        "[model]\nlayers = 1": ("'layers'", "levels"),
        "[model]\nlevels = 1.0": ("model.levels", "int", "1.0"),
        "[model]\nlevels = true": ("model.levels", "int", "True"),
        '[model]\nlevels = "1"': ("model.levels", "int", "'1'"),
        "[model]\nconv_filters = 4": ("model.conv_filters", "list"),
        "[front_end]\nstep_nm = true": ("front_end.step_nm", "float"),
        "[model": ("not TOML",),
    }.items(),
)
def test_errors_of_a_file_name_the_file_and_the_key(text, expected, tmp_path):
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    for words in ("config.toml", *expected):
        assert words in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml: No such file"):
        from_toml(tmp_path / "none.toml")


SINGLE = set_fields(Config(), ["model.architecture=single_task"])


def test_combinations_that_cannot_work_are_refused():
    with pytest.raises(InputError, match="both 0"):
        set_fields(Config(), ["model.task_experts=0", "model.shared_experts=0"])
    with pytest.raises(InputError, match=r"leave 0\.2 to train"):
        set_fields(Config(), ["split.test=0.5", "split.validation=0.4"])
    with pytest.raises(InputError, match="gradnorm needs a layer that targets share"):
        set_fields(SINGLE, ["training.balancing=gradnorm"])


def test_views_are_indices_of_their_channels_and_no_view_is_one_view_of_all():
    reordered = set_fields(Config(), ["front_end.channels=snv,d1,absorbance", "front_end.views=absorbance+snv,d1"])
    assert reordered.front_end.viewed_channels() == ((2, 0), (1,))
    assert set_fields(reordered, ["front_end.views="]).front_end.viewed_channels() == ((0, 1, 2),)


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().model.levels = 1


def test_every_field_has_a_description():
    """The description is a string below the field; `ast` finds it, `dataclasses` does not."""
    for section, kind in sections().items():
        body = ast.parse(inspect.getsource(kind)).body[0].body
        for statement, following in itertools.pairwise(body):
            if isinstance(statement, ast.AnnAssign):
                described = isinstance(following, ast.Expr) and isinstance(following.value.value, str)
                assert described, f"{section}.{statement.target.id}"


def test_flags_are_checked_together_not_one_by_one():
    assignments = ["simulated.start_nm=400", "simulated.stop_nm=900", "simulated.step_nm=1"]
    assert set_fields(Config(), assignments[::-1]) == set_fields(Config(), assignments)
    assert set_fields(SINGLE, ["training.balancing=gradnorm", "model.architecture=ple"])
