"""Config as text: reading and writing TOML, and parsing `--set section.field=value`."""

import dataclasses
import json
import tomllib
import typing
from collections.abc import Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from relple_tf.config import Config, changed, sections
from relple_tf.errors import InputError

LARGEST_TOML_BYTES = 1 << 20

LARGEST_INTEGER = 1 << 63
"""Limit of integers in TOML; a much larger integer does not fit a float."""


def set_fields(config: Config, assignments: Sequence[str]) -> Config:
    """Apply `--set section.field=value` flags together, so that only the resulting config must be valid.

    Args:
        config: The config to change; it stays as it is.
        assignments: Such as `model.levels=1`, or with commas for a tuple: `front_end.channels=snv,snv_d1`.

    Raises:
        InputError: a section or field is unknown, or a value is not of the field's type.
    """
    changes: dict[str, dict[str, object]] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        section, dot, name = path.strip().partition(".")
        if not (equals and dot):
            raise InputError(f"--set {assignment}: expected section.field=value, such as model.levels=1")
        hint = _hint(section, name, f"--set {assignment}")
        changes.setdefault(section, {})[name] = _parse(text.strip(), hint, f"--set {assignment}")
    return changed(config, changes)


def to_toml(config: Config) -> str:
    """Write the config as TOML; `from_toml` reads it."""
    lines = [f"preset = {_toml(config.preset)}"]
    for section in sections():
        lines += ["", f"[{section}]"]
        part = getattr(config, section)
        lines += [f"{item.name} = {_toml(getattr(part, item.name))}" for item in dataclasses.fields(part)]
    return "\n".join(lines) + "\n"


def read_toml(path: Path | Traversable, remedy: str, *, flag: str = "") -> dict[str, Any]:
    """Read a TOML file that the user named.

    Args:
        path: The file.
        remedy: How to correct the problem; ends the message of an error.
        flag: The command-line flag that named the file; begins the message of an error.

    Raises:
        InputError: the file cannot be opened, or is not TOML.
    """
    where = f"{flag} {path}".lstrip()
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_TOML_BYTES + 1)
        if len(content) > LARGEST_TOML_BYTES:
            raise InputError(f"{where}: expected at most {LARGEST_TOML_BYTES:,} bytes, received more; {remedy}")
        return tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise InputError(f"{where}: {error.strerror}; {remedy}") from None
    except RecursionError:
        raise InputError(f"{where}: not TOML: nested too deep; {remedy}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: not TOML: {error}") from None
    except ValueError as error:  # an integer with more digits than Python parses
        raise InputError(f"{where}: not TOML: {error}; {remedy}") from None


def from_toml(path: Path) -> Config:
    """Read a config; fields that are not in the file keep their defaults.

    Raises:
        InputError: the file is missing or not TOML, or contains an unknown key or an invalid value.
    """
    table = read_toml(path, "give a config file written by a run or a search")
    preset = table.pop("preset", Config().preset)
    if not isinstance(preset, str):
        raise InputError(f"{path}: preset: expected a string, received {preset!r}")
    changes: dict[str, dict[str, object]] = {}
    for section, values in table.items():
        if not isinstance(values, dict):
            raise InputError(f"{path}: expected preset and [{'], ['.join(sections())}]; received {section!r}")
        for name, value in values.items():
            hint = _hint(section, name, str(path))
            changes.setdefault(section, {})[name] = _convert(value, hint, f"{path}: {section}.{name}")
    try:
        return changed(Config(preset=preset), changes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


RENAMED = {"training.members": "training.cv_folds"}
"""Field name of earlier versions -> present name."""


def _hint(section: str, name: str, where: str) -> object:
    if new := RENAMED.get(f"{section}.{name}"):
        raise InputError(f"{where}: {section}.{name} is now called {new}; rename it")
    section_types = sections()
    if section not in section_types:
        raise InputError(f"{where}: expected a section of {', '.join(section_types)}; received {section!r}")
    hints = typing.get_type_hints(section_types[section])
    if name not in hints:
        raise InputError(f"{where}: {section} has no field {name!r}; its fields are {', '.join(hints)}")
    return hints[name]


def _parse(text: str, hint: object, where: str) -> object:
    """Parse the text of a value for a field of type `hint`."""
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        parts = [part.strip() for part in text.strip("[]()").split(",") if part.strip()]
        return tuple(_parse(part, item, where) for part in parts)
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise InputError(f"{where}: expected true or false, received {text!r}")
        return text.lower() == "true"
    if hint is str:
        return text.strip("'\"")
    kind = int if hint is int else float
    try:
        value = kind(text)
    except ValueError:
        raise InputError(f"{where}: expected {kind.__name__}, received {text!r}") from None
    return _checked_size(value, where)


def _checked_size(value: float, where: str) -> float:
    if isinstance(value, int) and abs(value) >= LARGEST_INTEGER:
        raise InputError(f"{where}: expected an integer of 64 bits, received {len(str(value))} digits")
    return value


def _convert(value: object, hint: object, where: str) -> object:
    """Convert a value of a TOML file to the type of the field."""
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where}: expected a list, received {value!r}")
        return tuple(_convert(item, typing.get_args(hint)[0], where) for item in value)
    if isinstance(value, int):
        _checked_size(value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise InputError(f"{where}: expected {getattr(hint, '__name__', hint)}, received {value!r}")
    return value


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        # TOML has the string escapes of JSON.
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
