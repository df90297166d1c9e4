"""What is searched: for every config field its options or its range, narrowed by a TOML file. No Keras.

A draw is a Config. Fields that another one switches off are not drawn; two options that make no Config together are
refused before the search, so that no draw is invalid.
"""

import dataclasses
import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relple_tf.config import Config, changed
from relple_tf.config_text import read_toml, set_fields
from relple_tf.errors import InputError

SECTIONS = ("front_end", "model", "training", "augmentation")
"""Whose fields may be searched."""
NOT_SEARCHED = {
    "front_end.channels": "it follows from front_end.views: every channel that a view names",
    **dict.fromkeys(("front_end.start_nm", "front_end.stop_nm"), "all trials read the same bands; use --set"),
    "training.seed": "the best seed of many is luck; use --seed",
    "training.cv_folds": "a trial has folds of its own; use --set",
    "training.workers": "it changes no result",
    "training.max_epochs": "it is the budget that hyperband deals out; use --set",
    "training.max_steps": "it is the budget that hyperband deals out; use --set",
    "training.tensorboard": "it changes no result",
}
"""Field -> why it has no place in a space."""

GATED = ("rs_ple", "ple", "mmoe")
"""Architectures that differ in which experts a gate reads, and in nothing else."""

Value = int | float | str | bool | tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One field that is searched."""

    field: str
    """Such as `model.levels`."""
    options: tuple[Value, ...] = ()
    """What is tried, or () for a range."""
    low: float = 0.0
    """Lower end of a range."""
    high: float = 0.0
    """Upper end of a range."""
    log: bool = False
    """Draw the logarithm of a range's values evenly, instead of the values."""
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    """Fields and the values that they must have for this one to count; it is not drawn otherwise."""


@dataclass(frozen=True, kw_only=True)
class TrialRules:
    """The table `[trial]` of a space file: what a trial is scored on, and how long it may take."""

    folds: int = 3
    """Inner folds of the learning soils; each network leaves one out."""
    repeats: int = 1
    """Times that the folds are drawn anew, each with other seeds; the score is the mean."""
    limit_s: float = 3600.0
    """Seconds after which a trial counts as hung and is ended."""

    def __post_init__(self) -> None:
        for name, low, high in (("folds", 2, 20), ("repeats", 1, 100), ("limit_s", 1, 1e6)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"trial.{name} must be between {low:g} and {high:g}, got {value:g}")


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a search may draw, around the config of trial 0."""

    start: Config
    """Trial 0: what the command asks for, moved into the space where it lay outside."""
    parameters: tuple[Parameter, ...]
    """In an order in which those that switch others stand before them."""
    rules: TrialRules = TrialRules()
    """How a trial is scored."""
    notes: tuple[str, ...] = ()
    """What was moved, one sentence each."""

    def config(self, values: dict[str, Value]) -> Config:
        """The Config of a draw: field -> value; fields that are not drawn have the value of `start`."""
        return with_values(self.start, values)


def default_knobs(base: Config) -> tuple[Parameter, ...]:
    """The options of every field that is searched by default; those of `base` are always among them."""
    gated = ("model.architecture", ("cgc", *GATED))
    stacked = ("model.architecture", ("ple", "rs_ple"))
    relevant = ("model.architecture", ("rs_ple",))
    architectures = GATED if base.model.architecture in GATED else ()
    views = (
        ("snv_d1",),
        ("absorbance+snv_d1",),
        ("absorbance+snv_d1", "d1"),
        ("absorbance+snv_d1", "d1", "snv_d2"),
        ("absorbance+snv_d1", "d1", "snv_d2", "snv"),
    )
    filters = ((8, 16, 16), (16, 32, 32), (16, 32, 32, 32), (16, 32, 48, 48), (32, 48, 64, 64))
    parameters = (
        Parameter(field="model.architecture", options=architectures),
        Parameter(field="model.levels", options=(1, 2, 3), when=(stacked,)),
        Parameter(field="model.task_experts", options=(1, 2, 3), when=(gated,)),
        Parameter(field="model.shared_experts", options=(0, 1, 2, 3), when=(gated,)),
        Parameter(field="model.relevance", options=("hard", "soft"), when=(relevant,)),
        Parameter(
            field="model.relevance_tau",
            options=(0.3, 0.45, 0.6, 0.75, 0.9),
            when=(relevant, ("model.relevance", ("hard",))),
        ),
        Parameter(
            field="model.relevance_beta", options=(0.3, 1.0, 3.0), when=(relevant, ("model.relevance", ("soft",)))
        ),
        Parameter(field="model.expert_kind", options=("cnn", "lstm", "attention", "cnn_lstm_attention")),
        Parameter(field="model.expert_units", options=(16, 32, 64, 96)),
        Parameter(field="model.stem", options=("shared", "per_expert")),
        Parameter(field="model.conv_filters", options=filters),
        Parameter(field="model.conv_kernel", options=(3, 5, 7, 11)),
        Parameter(
            field="model.lstm_units",
            options=(8, 16, 24, 32),
            when=(("model.expert_kind", ("lstm", "cnn_lstm_attention")),),
        ),
        Parameter(field="model.tower_units", options=(8, 16, 32, 64)),
        Parameter(field="model.basis_units", options=(0, 96, 256, 512)),
        Parameter(field="model.landmarks", options=(192, 384, 768)),
        Parameter(field="model.dropout", options=(0.0, 0.1, 0.2, 0.3)),
        Parameter(field="front_end.views", options=views),
        Parameter(field="front_end.whitened_components", options=(24, 40, 60, 80)),
        Parameter(field="training.learning_rate", low=3e-4, high=1e-2, log=True),
        Parameter(field="training.weight_decay", low=1e-3, high=1e-1, log=True),
        Parameter(field="training.batch_size", options=(32, 64, 128)),
        Parameter(
            field="training.balancing",
            options=("equal", "uncertainty", "dwa", "rlw", "geometric", "imtl_l", "famo"),
        ),
    )
    return tuple(_with_own(parameter, value_of(base, parameter.field)) for parameter in parameters)


def _with_own(parameter: Parameter, own: Value) -> Parameter:
    """`parameter` with `own` among its options, or in its range."""
    if not parameter.options and parameter.low < parameter.high:
        assert isinstance(own, int | float)
        return dataclasses.replace(parameter, low=min(parameter.low, own), high=max(parameter.high, own))
    if own in parameter.options:
        return parameter
    options = (*parameter.options, own)
    numbers = [option for option in options if isinstance(option, int | float)]
    return dataclasses.replace(parameter, options=tuple(sorted(numbers)) if len(numbers) == len(options) else options)


def value_of(config: Config, field: str) -> Value:
    """The value of a field, `front_end.views` as one view of all channels where there are none."""
    if field == "front_end.views" and not config.front_end.views:
        return ("+".join(config.front_end.channels),)
    section, _, name = field.partition(".")
    value: Value = getattr(getattr(config, section), name)
    return value


def with_values(base: Config, values: dict[str, Value]) -> Config:
    """`base` with fields changed; where views change, so do the channels that they are made of.

    Raises:
        InputError: the values make no Config together.
    """
    changes: dict[str, dict[str, Any]] = {}
    for field, value in values.items():
        if value == value_of(base, field):
            continue
        section, _, name = field.partition(".")
        changes.setdefault(section, {})[name] = value
        if field == "front_end.views":
            assert isinstance(value, tuple)
            changes[section]["channels"] = tuple(dict.fromkeys(c for view in value for c in view.split("+")))
    return changed(base, changes) if changes else base


def is_active(parameter: Parameter, config: Config) -> bool:
    """Whether a parameter counts in `config`."""
    return all(value_of(config, parent) in values for parent, values in parameter.when)


def space_of(base: Config, file: Path | None) -> Space:
    """The default space around `base`, narrowed by `file`.

    Args:
        base: What the command asks for.
        file: TOML with sections and fields as in a config, where a list holds the options, a single value fixes the
            field, and `{min = ..., max = ...}` is a range; `[trial]` holds the fields of `TrialRules`. For a field that
            is a list itself, a list of lists holds the options.

    Raises:
        InputError: the file, a key or a value is unknown or impossible, or two options exclude each other.
    """
    parameters = {parameter.field: parameter for parameter in default_knobs(base)}
    rules = TrialRules()
    if file is not None:
        narrowed, rules = read_space(file, base)
        for field, parameter in narrowed.items():
            parameters[field] = dataclasses.replace(
                parameter, when=parameters[field].when if field in parameters else ()
            )
    moved = {parameter.field: nearest(parameter, value_of(base, parameter.field)) for parameter in parameters.values()}
    where = file or "the space"
    try:
        start = with_values(base, moved)
    except InputError as error:
        raise InputError(f"{where}: trial 0 is no config: {error}") from None
    notes = tuple(
        f"trial 0 has {field} {_text(value)} instead of {_text(value_of(base, field))}, which the space leaves out"
        for field, value in moved.items()
        if value != value_of(base, field)
    )
    searched = _reachable(tuple(parameter for parameter in parameters.values() if len(parameter.options) != 1), start)
    if not searched:
        raise InputError(f"{where}: every field is fixed, so there is nothing to search; give some of them a list")
    space = Space(start=start, parameters=searched, rules=rules, notes=notes)
    _check_pairs(space, where)
    return space


def _reachable(parameters: tuple[Parameter, ...], start: Config) -> tuple[Parameter, ...]:
    """Without the parameters that no draw switches on; conditions on fields that are fixed and true are dropped."""
    while True:
        searched = {parameter.field: parameter for parameter in parameters}
        kept = []
        for parameter in parameters:
            possible, when = True, []
            for parent, values in parameter.when:
                if parent in searched:
                    possible &= bool(set(values) & set(searched[parent].options))
                    when.append((parent, values))
                else:
                    possible &= value_of(start, parent) in values
            if possible:
                kept.append(dataclasses.replace(parameter, when=tuple(when)))
        if len(kept) == len(parameters):
            return tuple(kept)
        parameters = tuple(kept)


def nearest(parameter: Parameter, value: Value) -> Value:
    """`value` if the parameter can have it, else the option or end of the range next to it, or the first option."""
    if not parameter.options:
        assert isinstance(value, int | float)
        return min(max(value, type(value)(parameter.low)), type(value)(parameter.high))
    if value in parameter.options:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return min(parameter.options, key=lambda option: abs(option - value))  # type: ignore[operator]
    return parameter.options[0]


def _check_pairs(space: Space, where: Path | str) -> None:
    """Every check of Config looks at two fields at most, so if all pairs of options pass, all draws do."""
    options = [
        [(parameter.field, option) for option in parameter.options or (parameter.low, parameter.high)]
        for parameter in space.parameters
        if parameter.field.startswith(("front_end.", "model.")) or parameter.field == "training.balancing"
    ]
    for one, other in itertools.combinations(options, 2):
        for pair in itertools.product(one, other):
            try:
                space.config(dict(pair))
            except InputError as error:
                both = " and ".join(f"{field} {_text(value)}" for field, value in pair)
                raise InputError(f"{where}: {both} exclude each other ({error}); leave one of them out") from None


def read_space(file: Path, base: Config) -> tuple[dict[str, Parameter], TrialRules]:
    """The parameters that a TOML file names, and its table `[trial]`; see `space_of`."""
    tables = read_toml(file, "give a TOML file", flag="--space")
    rules = _rules(file, tables.pop("trial", {}))
    parameters = {}
    for section, fields in tables.items():
        if section not in SECTIONS or not isinstance(fields, dict):
            raise InputError(f"{file}: no section {section!r}; a space has [{'], ['.join(SECTIONS)}] and [trial]")
        for name, given in fields.items():
            field = f"{section}.{name}"
            if field in NOT_SEARCHED:
                raise InputError(f"{file}: {field} is not searched: {NOT_SEARCHED[field]}")
            parameters[field] = _knob(file, field, given, base)
    return parameters, rules


def _rules(file: Path, table: object) -> TrialRules:
    known = {field.name: field.type for field in dataclasses.fields(TrialRules)}
    if not isinstance(table, dict):
        raise InputError(f"{file}: trial must be a table, [trial], with {', '.join(known)}")
    for name, value in table.items():
        if name not in known:
            raise InputError(f"{file}: trial has no {name!r}; it has {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, int if name != "limit_s" else int | float):
            raise InputError(f"{file}: trial.{name}: expected a number, got {value!r}")
    try:
        return TrialRules(**table)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _knob(file: Path, field: str, given: object, base: Config) -> Parameter:
    if isinstance(given, dict):
        return _range(file, field, given, base)
    _typed(file, field, None, base)
    if isinstance(value_of(base, field), tuple):
        several = isinstance(given, list) and bool(given) and all(isinstance(item, list) for item in given)
    else:
        several = isinstance(given, list)
    values = given if several and isinstance(given, list) else [given]
    if not values:
        raise InputError(f"{file}: {field} has no options; name some, or leave the field out")
    options = tuple(dict.fromkeys(_typed(file, field, value, base) for value in values))
    return Parameter(field=field, options=options)


def _range(file: Path, field: str, given: dict[str, Any], base: Config) -> Parameter:
    if unknown := set(given) - {"min", "max", "log"} or {"min", "max"} - set(given):
        raise InputError(
            f"{file}: {field}: a range is {{min = ..., max = ..., log = true}}, {unknown.pop()!r} is wrong"
        )
    own = _typed(file, field, None, base)
    ends = [_typed(file, field, given[end], base) for end in ("min", "max")]
    if isinstance(own, bool) or not all(isinstance(end, int | float) for end in ends):
        raise InputError(f"{file}: {field} is no number, so it has no range; give a list of options")
    low, high = (float(end) for end in ends)  # type: ignore[arg-type]
    if not low < high:
        raise InputError(f"{file}: {field}: min {low:g} must be below max {high:g}")
    log = given.get("log", low > 0 and high / low >= 10)
    if not isinstance(log, bool) or (log and low <= 0):
        raise InputError(f"{file}: {field}: log = {log!r} needs true or false, and a min above 0 for true")
    return Parameter(field=field, low=low, high=high, log=log)


def _typed(file: Path, field: str, value: object, base: Config) -> Value:
    """`value` as the field has it; None gives that of `base`, if there is such a field."""
    section, _, name = field.partition(".")
    if value is None and hasattr(getattr(base, section), name):
        return value_of(base, field)
    if field == "front_end.views" and isinstance(value, list):
        channels = dict.fromkeys(c for view in value if isinstance(view, str) for c in view.split("+"))
        assignments = [f"front_end.channels={','.join(channels)}", f"{field}={_text(value)}"]
    else:
        assignments = [f"{field}={_text(value)}"]
    try:
        return value_of(set_fields(base, assignments), field)
    except InputError as error:
        raise InputError(f"{file}: {str(error).removeprefix('--set ')}") from None


def _text(value: object) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, list | tuple):
        return ",".join(_text(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def rounded(parameter: Parameter, value: float, own: Value) -> Value:
    """A draw from a range, with three digits, of the kind that the field has; the ends stay within."""
    if isinstance(own, int):
        return round(value)
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return min(max(round(float(value), digits), parameter.low), parameter.high)
