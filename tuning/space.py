"""The search space: options or range of every config field, narrowed by a TOML file. Imports no Keras.

A draw is a Config. Fields without effect under the other values are not drawn. Two options that make no valid Config
together are refused before the search, so that every draw is valid.
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
"""Sections of Config whose fields may be searched."""
NOT_SEARCHED = {
    "front_end.channels": "it follows from front_end.views, as all channels of the views",
    **dict.fromkeys(("front_end.start_nm", "front_end.stop_nm"), "all trials use the same bands; use --set"),
    "training.seed": "the best of many seeds is chance; use --seed",
    "training.cv_folds": "trials use trial.folds instead; use --set",
    "training.workers": "it changes no result",
    "training.max_epochs": "hyperband chooses the epochs of a trial; use --set",
    "training.max_steps": "hyperband chooses the epochs of a trial; use --set",
    **dict.fromkeys(("training.tensorboard", "training.callbacks"), "it changes no trial"),
}
"""Field -> reason why it cannot be searched."""

GATED = ("rs_ple", "ple", "mmoe")
"""Architectures that differ only in the experts that a gate reads."""

Value = int | float | str | bool | tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A field that is searched, with its options or its range."""

    field: str
    """Section and name, such as `model.levels`."""
    options: tuple[Value, ...] = ()
    """Values to try; () for a range."""
    low: float = 0.0
    """Lower end of a range."""
    high: float = 0.0
    """Upper end of a range."""
    log: bool = False
    """Draw log-uniformly from the range instead of uniformly."""
    when: tuple[tuple[str, tuple[Value, ...]], ...] = ()
    """Conditions (other field, values): the parameter is active only if each field has one of the values."""


@dataclass(frozen=True, kw_only=True)
class TrialRules:
    """The table `[trial]` of a space file: folds, repeats and time limit of a trial."""

    folds: int = 3
    """Number of inner folds of the development set."""
    repeats: int = 1
    """Number of draws of the folds, each with other seeds; the score is the mean."""
    limit_s: float = 3600.0
    """Seconds after which a trial is ended as hung."""

    def __post_init__(self) -> None:
        for name, low, high in (("folds", 2, 20), ("repeats", 1, 100), ("limit_s", 1, 1e6)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"trial.{name}: expected a number between {low:g} and {high:g}, received {value:g}")


@dataclass(frozen=True, kw_only=True)
class Space:
    """The parameters of a search, with the config of trial 0."""

    start: Config
    """Config of trial 0: that of the command, with fields outside the space moved into it."""
    parameters: tuple[Parameter, ...]
    """Ordered so that a parameter comes after those in its conditions."""
    rules: TrialRules = TrialRules()
    """Folds, repeats and time limit of a trial."""
    notes: tuple[str, ...] = ()
    """One sentence per field of trial 0 that was moved."""

    def config(self, values: dict[str, Value]) -> Config:
        """The Config of a draw (field -> value); fields that are not drawn have their value in `start`."""
        return with_values(self.start, values)


def default_parameters(base: Config) -> tuple[Parameter, ...]:
    """Options or range of every field that is searched by default; the value of `base` is always included."""
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
    return tuple(_including(parameter, value_of(base, parameter.field)) for parameter in parameters)


def _including(parameter: Parameter, value: Value) -> Parameter:
    """`parameter` with `value` among its options or within its range."""
    if not parameter.options and parameter.low < parameter.high:
        assert isinstance(value, int | float)
        return dataclasses.replace(parameter, low=min(parameter.low, value), high=max(parameter.high, value))
    if value in parameter.options:
        return parameter
    options = (*parameter.options, value)
    numbers = [option for option in options if isinstance(option, int | float)]
    return dataclasses.replace(parameter, options=tuple(sorted(numbers)) if len(numbers) == len(options) else options)


def value_of(config: Config, field: str) -> Value:
    """Value of a field; `front_end.views` without views is one view of all channels."""
    if field == "front_end.views" and not config.front_end.views:
        return ("+".join(config.front_end.channels),)
    section, _, name = field.partition(".")
    value: Value = getattr(getattr(config, section), name)
    return value


def with_values(base: Config, values: dict[str, Value]) -> Config:
    """Change fields of `base`; `front_end.channels` follows `front_end.views`.

    Raises:
        InputError: the values make no valid Config together.
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
    """Whether `config` meets the conditions of a parameter."""
    return all(value_of(config, parent) in values for parent, values in parameter.when)


def space_of(base: Config, file: Path | None) -> Space:
    """The default space around `base`, narrowed by `file`.

    Args:
        base: Config of the command.
        file: TOML with sections and fields as in a config. A list holds options, a single value fixes the field,
            `{min = ..., max = ...}` is a range. For a field that is itself a list, a list of lists holds options.
            `[trial]` holds the fields of `TrialRules`.

    Raises:
        InputError: the file, a key or a value is unknown or invalid, or two options exclude each other.
    """
    parameters = {parameter.field: parameter for parameter in default_parameters(base)}
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
        raise InputError(f"{where}: the config of trial 0 is not valid: {error}") from None
    notes = tuple(
        f"trial 0 has {field} {_text(value)} instead of {_text(value_of(base, field))}, which is outside the space"
        for field, value in moved.items()
        if value != value_of(base, field)
    )
    searched = _reachable(tuple(parameter for parameter in parameters.values() if len(parameter.options) != 1), start)
    if not searched:
        raise InputError(
            f"{where}: every field is fixed, so there is nothing to search; give at least one field a list or a range"
        )
    space = Space(start=start, parameters=searched, rules=rules, notes=notes)
    _check_pairs(space, where)
    return space


def _reachable(parameters: tuple[Parameter, ...], start: Config) -> tuple[Parameter, ...]:
    """Remove parameters that are active in no draw, and conditions on fixed fields that are met."""
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
    """`value` if it is in the space; else the nearest option or end of the range; for text the first option."""
    if not parameter.options:
        assert isinstance(value, int | float)
        return min(max(value, type(value)(parameter.low)), type(value)(parameter.high))
    if value in parameter.options:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return min(parameter.options, key=lambda option: abs(option - value))  # type: ignore[operator]
    return parameter.options[0]


def _check_pairs(space: Space, where: Path | str) -> None:
    """Refuse two options that make no valid Config.

    Every check of Config reads two fields at most; therefore, if all pairs are valid, all draws are.
    """
    options = [
        [(parameter.field, option) for option in parameter.options or (parameter.low, parameter.high)]
        for parameter in space.parameters
        if parameter.field.startswith(("front_end.", "model.")) or parameter.field == "training.balancing"
    ]
    for first, second in itertools.combinations(options, 2):
        for pair in itertools.product(first, second):
            try:
                space.config(dict(pair))
            except InputError as error:
                both = " and ".join(f"{field} {_text(value)}" for field, value in pair)
                raise InputError(f"{where}: {both} exclude each other ({error}); remove one of them") from None


def read_space(file: Path, base: Config) -> tuple[dict[str, Parameter], TrialRules]:
    """Read the parameters of a TOML file and its table `[trial]`; see `space_of` for the format."""
    tables = read_toml(file, "give a TOML file", flag="--space")
    rules = _rules(file, tables.pop("trial", {}))
    parameters = {}
    for section, fields in tables.items():
        if section not in SECTIONS or not isinstance(fields, dict):
            raise InputError(f"{file}: no section {section!r}; a space file has [{'], ['.join(SECTIONS)}] and [trial]")
        for name, given in fields.items():
            field = f"{section}.{name}"
            if field in NOT_SEARCHED:
                raise InputError(f"{file}: {field} cannot be searched: {NOT_SEARCHED[field]}")
            parameters[field] = _parameter(file, field, given, base)
    return parameters, rules


def _rules(file: Path, table: object) -> TrialRules:
    types = {field.name: field.type for field in dataclasses.fields(TrialRules)}
    if not isinstance(table, dict):
        raise InputError(f"{file}: expected the table [trial] with {', '.join(types)}")
    for name, value in table.items():
        if name not in types:
            raise InputError(f"{file}: trial has no {name!r}; it has {', '.join(types)}")
        if isinstance(value, bool) or not isinstance(value, int if name != "limit_s" else int | float):
            raise InputError(f"{file}: trial.{name}: expected a number, received {value!r}")
    try:
        return TrialRules(**table)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _parameter(file: Path, field: str, given: object, base: Config) -> Parameter:
    if isinstance(given, dict):
        return _range(file, field, given, base)
    _typed(file, field, None, base)
    if isinstance(value_of(base, field), tuple):
        several = isinstance(given, list) and bool(given) and all(isinstance(item, list) for item in given)
    else:
        several = isinstance(given, list)
    values = given if several and isinstance(given, list) else [given]
    if not values:
        raise InputError(f"{file}: {field} has no options; give at least one, or remove the field")
    options = tuple(dict.fromkeys(_typed(file, field, value, base) for value in values))
    return Parameter(field=field, options=options)


def _range(file: Path, field: str, given: dict[str, Any], base: Config) -> Parameter:
    if unknown := set(given) - {"min", "max", "log"} or {"min", "max"} - set(given):
        raise InputError(
            f"{file}: {field}: expected a range {{min = ..., max = ..., log = true}}; {unknown.pop()!r} is missing or "
            "unknown"
        )
    base_value = _typed(file, field, None, base)
    ends = [_typed(file, field, given[end], base) for end in ("min", "max")]
    if isinstance(base_value, bool) or not all(isinstance(end, int | float) for end in ends):
        raise InputError(f"{file}: {field} is not a number, so it has no range; give a list of options")
    low, high = (float(end) for end in ends)  # type: ignore[arg-type]
    if not low < high:
        raise InputError(f"{file}: {field}: expected min below max, received {low:g} and {high:g}")
    log = given.get("log", low > 0 and high / low >= 10)
    if not isinstance(log, bool) or (log and low <= 0):
        raise InputError(
            f"{file}: {field}: expected log = true or false, and min above 0 where it is true; received log = {log!r}"
        )
    return Parameter(field=field, low=low, high=high, log=log)


def _typed(file: Path, field: str, value: object, base: Config) -> Value:
    """`value` in the type of the field; None returns the value of `base`, if the field exists."""
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
    """Text of a value in the syntax of `--set`."""
    if isinstance(value, list | tuple):
        return ",".join(_text(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def rounded(parameter: Parameter, value: float, start: Value) -> Value:
    """Round a draw from a range to three digits, or to an integer if `start` is one; keep it within the range."""
    if isinstance(start, int):
        return round(value)
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return min(max(round(float(value), digits), parameter.low), parameter.high)
