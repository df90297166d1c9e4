"""A Config as text: TOML in and out, and `--set section.field=value`."""

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
"""TOML's own; a larger one has no float."""


def set_fields(config: Config, assignments: Sequence[str]) -> Config:
    """Apply `--set section.field=value` flags, all at once, so that only their sum must be possible.

    Args:
        assignments: Such as `model.levels=1`; tuples are separated by commas: `front_end.channels=snv,snv_d1`.

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
    """The config as TOML; `from_toml` reads it back."""
    lines = [f"preset = {_toml(config.preset)}"]
    for section in sections():
        lines += ["", f"[{section}]"]
        part = getattr(config, section)
        lines += [f"{item.name} = {_toml(getattr(part, item.name))}" for item in dataclasses.fields(part)]
    return "\n".join(lines) + "\n"


def read_toml(path: Path | Traversable, way_out: str, *, flag: str = "") -> dict[str, Any]:
    """Read a TOML file that the user named.

    Args:
        way_out: What to do about a file that cannot be opened.
        flag: That named the file; messages begin with it.

    Raises:
        InputError: the file cannot be opened, or is no TOML.
    """
    where = f"{flag} {path}".lstrip()
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_TOML_BYTES + 1)
        if len(content) > LARGEST_TOML_BYTES:
            raise InputError(f"{where}: expected at most {LARGEST_TOML_BYTES:,} bytes, received more; {way_out}")
        return tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise InputError(f"{where}: {error.strerror}; {way_out}") from None
    except RecursionError:
        raise InputError(f"{where}: not TOML: nested too deep; {way_out}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: not TOML: {error}") from None
    except ValueError as error:  # an integer of more digits than Python reads
        raise InputError(f"{where}: not TOML: {error}; {way_out}") from None


def from_toml(path: Path) -> Config:
    """Read a config; fields that the file leaves out keep their defaults.

    Raises:
        InputError: the file is missing or no TOML, or holds a key or value that Config does not
            know.
    """
    table = read_toml(path, "give a config file written by a run or a search")
    preset = table.pop("preset", Config().preset)
    if not isinstance(preset, str):
        raise InputError(f"{path}: preset must be a string, got {preset!r}")
    changes: dict[str, dict[str, object]] = {}
    for section, values in table.items():
        if not isinstance(values, dict):
            raise InputError(f"{path}: unknown key {section!r}; it has preset and [{'], ['.join(sections())}]")
        for name, value in values.items():
            hint = _hint(section, name, str(path))
            changes.setdefault(section, {})[name] = _convert(value, hint, f"{path}: {section}.{name}")
    try:
        return changed(Config(preset=preset), changes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


RENAMED = {"training.members": "training.cv_folds"}
"""Fields of earlier versions, and what they are called now."""


def _hint(section: str, name: str, where: str) -> object:
    if new := RENAMED.get(f"{section}.{name}"):
        raise InputError(f"{where}: {section}.{name} is now called {new}; rename it")
    known = sections()
    if section not in known:
        raise InputError(f"{where}: no section {section!r}; there are {', '.join(known)}")
    hints = typing.get_type_hints(known[section])
    if name not in hints:
        raise InputError(f"{where}: {section} has no {name!r}; it has {', '.join(hints)}")
    return hints[name]


def _parse(text: str, hint: object, where: str) -> object:
    """The value that `text` means for a field of type `hint`."""
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        parts = [part.strip() for part in text.strip("[]()").split(",") if part.strip()]
        return tuple(_parse(part, item, where) for part in parts)
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise InputError(f"{where}: expected true or false, got {text!r}")
        return text.lower() == "true"
    if hint is str:
        return text.strip("'\"")
    kind = int if hint is int else float
    try:
        value = kind(text)
    except ValueError:
        raise InputError(f"{where}: expected {kind.__name__}, got {text!r}") from None
    return _checked_size(value, where)


def _checked_size(value: float, where: str) -> float:
    if isinstance(value, int) and abs(value) >= LARGEST_INTEGER:
        raise InputError(f"{where}: expected an integer of 64 bits, got one of {len(str(value))} digits")
    return value


def _convert(value: object, hint: object, where: str) -> object:
    """A value of a TOML file as the type that the field has."""
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where}: expected a list, got {value!r}")
        return tuple(_convert(item, typing.get_args(hint)[0], where) for item in value)
    if isinstance(value, int):
        _checked_size(value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise InputError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")
    return value


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        # JSON's string escapes are TOML's.
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
