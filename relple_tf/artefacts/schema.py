"""What the content of a JSON file must be, as a table: place -> rule.

A place is a path of keys such as `domain.limits.T2`; `*` stands for every key of an object or item of a list. Places
stand in the order in which they are checked, an object before what it holds. Below a null that a rule allows, nothing
is checked.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from relple_tf.artefacts.reading import short
from relple_tf.errors import InputError


@dataclass(frozen=True)
class Rule:
    """What a value must be."""

    expected: str
    """In words."""
    holds: Callable[[Any], bool]


MISSING = object()
"""Stands for a value that is not there."""

LONGEST_TEXT = 10_000
"""Characters."""


def number(low: float, high: float) -> Rule:
    """An integer or float within a range; NaN and booleans are none."""
    return Rule(
        f"a number from {low:g} to {high:g}", lambda value: type(value) in (int, float) and low <= value <= high
    )


def whole(low: int, high: int) -> Rule:
    """An integer within a range."""
    return Rule(f"an integer from {low:,} to {high:,}", lambda value: type(value) is int and low <= value <= high)


def matching(pattern: str, words: str) -> Rule:
    """A string that matches as a whole; `words` say what it is."""
    compiled = re.compile(pattern, re.ASCII)
    return Rule(words, lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None)


def one_of(*options: str) -> Rule:
    """One of these strings."""
    return Rule(f"one of {', '.join(options)}", lambda value: isinstance(value, str) and value in options)


def named(pattern: Rule, least: int = 1) -> Rule:
    """An object whose keys follow a rule."""
    return Rule(
        f"an object with {least} or more keys, each {pattern.expected}",
        lambda value: isinstance(value, dict) and len(value) >= least and all(map(pattern.holds, value)),
    )


def items(least: int, most: int) -> Rule:
    """A list of so many items."""
    return Rule(
        f"a list of {least:,} to {most:,} items", lambda value: isinstance(value, list) and least <= len(value) <= most
    )


def or_null(rule: Rule) -> Rule:
    """The same, or null."""
    return Rule(f"{rule.expected}, or null", lambda value: value is None or rule.holds(value))


def or_missing(rule: Rule) -> Rule:
    """The same, or nothing at all."""
    return Rule(rule.expected, lambda value: value is MISSING or rule.holds(value))


def _is_text(value: Any) -> bool:
    # Half of a surrogate pair, which JSON can hold, cannot be written.
    return isinstance(value, str) and len(value) <= LONGEST_TEXT and value.encode(errors="replace").decode() == value


def _is_ascending(value: Any) -> bool:
    rule = number(1, 1e6)
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(map(rule.holds, value))
        and all(one < after for one, after in pairwise(value))
    )


FLAG = Rule("true or false", lambda value: isinstance(value, bool))
OBJECT = Rule("an object", lambda value: isinstance(value, dict))
TEXT = Rule(f"text of at most {LONGEST_TEXT:,} characters", _is_text)
NAME = matching(r"\w[\w.-]{0,99}", "a plain name")
TARGET = matching(r"[A-Za-z]\w{0,99}", "the name of a target")
SHA256 = matching(r"[0-9a-f]{64}", "a SHA-256 in hexadecimal digits")
ASCENDING_NM = Rule("at least two ascending wavelengths from 1 to 1e+06 nm", _is_ascending)


def check(content: Any, rules: Mapping[str, Rule], path: Path, way_out: str) -> None:
    """Compare the content of a file with its rules.

    Args:
        content: Of the file.
        rules: Place -> what is expected there; the place `` is the whole.
        path: The file.
        way_out: What to do if it is wrong.

    Raises:
        InputError: naming the first place where something is missing or wrong.
    """
    for place, rule in rules.items():
        for where, value in _places(content, place.split(".") if place else []):
            if not rule.holds(value):
                at = f"{short(where)}: " if where else ""
                raise InputError(f"{path}: {at}expected {rule.expected}, received {_told(value)}; {way_out}")


def _told(value: Any) -> str:
    """A wrong value in few words; the text of nested ones could be as deep as Python allows."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return "nothing" if value is MISSING else short(repr(value), 60)


def _places(value: Any, keys: list[str]) -> Iterator[tuple[str, Any]]:
    if not keys:
        yield "", value
        return
    if value is None or value is MISSING:
        return
    first, *rest = keys
    if isinstance(value, list):
        found: Mapping[str, Any] = {str(number): item for number, item in enumerate(value)}
    else:
        found = value
    for key in list(found) if first == "*" else [first]:
        for where, inner in _places(found.get(key, MISSING), rest):
            yield f"{key}.{where}".rstrip("."), inner
