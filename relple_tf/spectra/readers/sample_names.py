"""Match the names of scans with the names of samples in another table."""

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from relple_tf.spectra.readers.columns import name_some

SUFFIXES = "csv|txt|tsv|gz|parquet|xlsx|asd|sig|sed|spc|dx|jdx|dpt|nir|0"
"""Suffixes of files of scans, which the name of a scan may end in. `.0` is OPUS, and an integer that became `12.0`."""

_SUFFIX = re.compile(rf"(?:\.(?:{SUFFIXES}))+$")
_SCAN_NUMBER = re.compile(
    r"(?P<stem>.*[^\s_-])(?:[\s_-]*(?:rep|replicate|scan)[\s_.-]?\d{1,5}|[_-]\d{1,5}|\s*\(\d{1,3}\)|:row\d+)",
    re.IGNORECASE,
)
"""The number of a scan at the end of a name; `:row2` is from `relple_tf.spectra.readers.folders`."""
_MOST_NAMES = 10
_MOST_COMPARED = 2000
"""Names among which a near match is searched: the comparison of texts is slow."""
_NEAR = 0.8
"""Smallest ratio of `difflib` for a near match: one wrong letter in a name of five."""


def sample_stem(name: str) -> str:
    """Name of a sample without the number of a scan: `S1` for `S1_1`, `S1-2`, `S1 rep3` and `S1 (2)`; else `name`."""
    match = _SCAN_NUMBER.fullmatch(name)
    return match["stem"] if match else name


def normalised_name(name: str) -> str:
    """A name in lower case, without the suffix of a file of scans (SUFFIXES) and without blanks between words.

    A blank between two digits stays: `plot 1 12` is not `plot 11 2`.
    """
    return _SUFFIX.sub("", re.sub(r"\s+(?!\d)|(?<!\d)\s+", "", name.strip().casefold()))


def stem_key(name: str) -> str:
    """A normalised name without the number of a scan."""
    return sample_stem(normalised_name(name))


def match_names(
    path: Path, names: Sequence[str], files: Sequence[str], rows: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Find the row of each scan by its name; the rules are in `join_laboratory`.

    Args:
        path: Path of the table of the rows, for notes.
        names: (n,) names of the scans.
        files: (n,) names of their files, or nothing.
        rows: Distinct names of the rows.

    Returns:
        (n,) name of the row, empty for a scan without one; and notes, which list every name that is not equal.
    """
    known = set(rows)
    exact = [name if name in known else "" for name in names]
    by_file = {index for index, file in enumerate(files) if not exact[index] and file in known}
    matched = [files[index] if index in by_file else name for index, name in enumerate(exact)]
    notes = [f"{len(by_file)} scans were joined by the name of their file"] if by_file else []
    every = list(dict.fromkeys(names))
    for words, pairs_of in (
        ("without regard to case, blanks and file suffix", _by_normalised_name),
        ("without the number of the scan", _by_stem),
    ):
        todo = dict.fromkeys(name for name, row in zip(names, matched, strict=True) if not row)
        pairs = {name: row for name, row in pairs_of(every, rows).items() if name in todo}
        matched = [row or pairs.get(name, "") for name, row in zip(names, matched, strict=True)]
        if pairs:
            shown = name_some([f"{name} is {row}" for name, row in pairs.items()], _MOST_NAMES)
            notes.append(f"{len(pairs)} names of scans were joined {words}: {shown}")
    lost = list(dict.fromkeys(name for name, row in zip(names, matched, strict=True) if not row))
    used = set(matched)
    free = [row for row in rows if row not in used]
    if lost:
        notes.append(
            f"{path}: no row for {len(lost)} scans, which have no laboratory values: {name_some(lost, _MOST_NAMES)}"
        )
    if free:
        notes.append(f"{path}: no scan for {len(free)} rows: {name_some(free, _MOST_NAMES)}")
    if near := _near_matches(lost[:_MOST_COMPARED], free[:_MOST_COMPARED]):
        shown = name_some([f"scan {name} and row {row}" for name, row in near.items()], _MOST_NAMES)
        notes.append(f"similar names, which were not joined: {shown}; correct the names if they are the same sample")
    return matched, notes


def _by_normalised_name(names: Sequence[str], rows: Sequence[str]) -> dict[str, str]:
    """Scan -> row, where exactly one scan and one row have the same normalised name."""
    scans_of, rows_of = _grouped(names, normalised_name), _grouped(rows, normalised_name)
    return {
        scans[0]: rows_of[key][0]
        for key, scans in scans_of.items()
        if len(scans) == 1 and len(rows_of.get(key, ())) == 1
    }


def _by_stem(names: Sequence[str], rows: Sequence[str]) -> dict[str, str]:
    """Scan -> row, where the row has the name of the scan without its number."""
    known, rows_of = set(rows), _grouped(rows, normalised_name)
    # A laboratory table with S1, S1_1 and S1_2 distinguishes these samples, so a scan S1_3 is not S1.
    numbered = {stem for row in rows if (stem := stem_key(row)) != normalised_name(row)}
    stems: dict[str, str] = {}
    written: dict[str, set[str]] = defaultdict(set)
    for name in names:
        if (key := stem_key(name)) != normalised_name(name) and key not in numbered:
            stems[name] = sample_stem(_SUFFIX.sub("", name))
            written[key].add(stems[name])
    pairs = {}
    for name, stem in stems.items():
        key = stem_key(name)
        if stem in known:
            pairs[name] = stem
        elif len(written[key]) == 1 and len(rows_of.get(key, ())) == 1:
            pairs[name] = rows_of[key][0]
    return pairs


def _grouped(names: Sequence[str], form: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[form(name)].append(name)
    return dict(groups)


def _near_matches(names: Sequence[str], rows: Sequence[str]) -> dict[str, str]:
    """Scan -> row of a similar name: other zeros, punctuation or letters, but the same numbers."""
    by_numbers = _grouped(rows, _numbers)
    near = {}
    for name in names:
        for form in dict.fromkeys((name, sample_stem(name))):
            candidates = {_letters(row): row for row in by_numbers.get(_numbers(form), ())}
            if name not in near and (close := difflib.get_close_matches(_letters(form), candidates, 1, _NEAR)):
                near[name] = candidates[close[0]]
    return near


def _numbers(name: str) -> str:
    return " ".join(str(int(number)) for number in re.findall(r"[0-9]{1,18}", name))


def _letters(name: str) -> str:
    """Letters and numbers of a name, without leading zeros: `s1` for `S-01`."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\W_]", "", normalised_name(name)))
