"""Rules for the content of a JSON file, as a table: key path -> rule.

A key path is for example `domain.limits.T2`; `*` matches every key of an object or every item of a list. Key paths are
checked in the order of the table, an object before its entries. Entries of a null that a rule allows are not checked.
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
    """A condition for a value."""

    expected: str
    """The condition in words, for messages."""
    holds: Callable[[Any], bool]
    """Whether a value meets the condition."""


MISSING = object()
"""Represents a missing value."""

LONGEST_TEXT = 10_000
"""Characters."""


def number(low: float, high: float) -> Rule:
    """An integer or float within a range, bounds included; not NaN, not a boolean."""
    return Rule(
        f"a number from {low:g} to {high:g}", lambda value: type(value) in (int, float) and low <= value <= high
    )


def integer(low: int, high: int) -> Rule:
    """An integer within a range, bounds included."""
    return Rule(f"an integer from {low:,} to {high:,}", lambda value: type(value) is int and low <= value <= high)


def matching(pattern: str, expected: str) -> Rule:
    """A string that the pattern matches completely; `expected` describes it."""
    compiled = re.compile(pattern, re.ASCII)
    return Rule(expected, lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None)


def one_of(*options: str) -> Rule:
    """One of the given strings."""
    return Rule(f"one of {', '.join(options)}", lambda value: isinstance(value, str) and value in options)


def named(pattern: Rule, least: int = 1) -> Rule:
    """An object with at least `least` keys, each of which meets a rule."""
    return Rule(
        f"an object with {least} or more keys, each {pattern.expected}",
        lambda value: isinstance(value, dict) and len(value) >= least and all(map(pattern.holds, value)),
    )


def items(least: int, most: int) -> Rule:
    """A list of `least` to `most` items."""
    return Rule(
        f"a list of {least:,} to {most:,} items", lambda value: isinstance(value, list) and least <= len(value) <= most
    )


def or_null(rule: Rule) -> Rule:
    """A value that meets the rule, or null."""
    return Rule(f"{rule.expected}, or null", lambda value: value is None or rule.holds(value))


def or_missing(rule: Rule) -> Rule:
    """A value that meets the rule, or no entry."""
    return Rule(rule.expected, lambda value: value is MISSING or rule.holds(value))


def _is_text(value: Any) -> bool:
    # JSON can contain half of a surrogate pair, which cannot be written as UTF-8.
    return isinstance(value, str) and len(value) <= LONGEST_TEXT and value.encode(errors="replace").decode() == value


def _is_ascending(value: Any) -> bool:
    rule = number(1, 1e6)
    return (
        isinstance(value, list)
        and len(value) > 1
        and all(map(rule.holds, value))
        and all(lower < upper for lower, upper in pairwise(value))
    )


FLAG = Rule("true or false", lambda value: isinstance(value, bool))
OBJECT = Rule("an object", lambda value: isinstance(value, dict))
TEXT = Rule(f"text of at most {LONGEST_TEXT:,} characters", _is_text)
NAME = matching(r"\w[\w.-]{0,99}", "a plain name")
TARGET = matching(r"[A-Za-z]\w{0,99}", "the name of a target")
SHA256 = matching(r"[0-9a-f]{64}", "a SHA-256 in hexadecimal digits")
ASCENDING_NM = Rule("at least two ascending wavelengths from 1 to 1e+06 nm", _is_ascending)


def check(content: Any, rules: Mapping[str, Rule], path: Path, remedy: str) -> None:
    """Check the content of a file against its rules.

    Args:
        content: Parsed content of the file.
        rules: Key path -> rule; the empty key path is the complete content.
        path: The file.
        remedy: What to do about invalid content; ends the message.

    Raises:
        InputError: names the first entry that is missing or invalid.
    """
    for key_path, rule in rules.items():
        for where, value in _entries(content, key_path.split(".") if key_path else []):
            if not rule.holds(value):
                at = f"{short(where)}: " if where else ""
                raise InputError(f"{path}: {at}expected {rule.expected}, received {_described(value)}; {remedy}")


def _described(value: Any) -> str:
    """Describe an invalid value briefly; objects and lists by type only, because they may be nested deeply."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return "nothing" if value is MISSING else short(repr(value), 60)


def _entries(value: Any, keys: list[str]) -> Iterator[tuple[str, Any]]:
    """Key paths that match `keys`, and their values."""
    if not keys:
        yield "", value
        return
    if value is None or value is MISSING:
        return
    first, *rest = keys
    if isinstance(value, list):
        content: Mapping[str, Any] = {str(number): item for number, item in enumerate(value)}
    else:
        content = value
    for key in list(content) if first == "*" else [first]:
        for where, inner in _entries(content.get(key, MISSING), rest):
            yield f"{key}.{where}".rstrip("."), inner
