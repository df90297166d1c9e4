"""Soil values from raw scans, on a device: `python soil_scan.py BUNDLE [SCANS.csv|-] [--variant NAME] [--json]`.

`python soil_scan.py BUNDLE --golden` runs the bundle's golden scans on every variant and holds them against what
Keras says and what was recorded.

One file that needs Python 3.10, numpy and ai-edge-litert, and a bundle of relple_tf. A bundle's files are opened only
if their SHA-256 is the one that SHA256SUMS has. A scan comes back as values with intervals and a status: `ok`;
`outside`, unlike the soils that were learned from; `invalid`, no scan of a soil at all, without any number.

    from soil_scan import SoilScan

    device = SoilScan("bundle")
    print(device.estimate(scan))

A table of scans is a CSV with one scan per row, wavelengths in nm as column names and perhaps a column `id`. Without
a header, each row holds the values of one scan on the model's own wavelengths. Each row is answered before the next one
is read, so the table may be a pipe that never ends: `tail -f scans.csv | python soil_scan.py BUNDLE - --json`. A cell
that is no number makes its scan `invalid`; a row with another number of cells ends the program with exit code 2, after
the rows before it were answered.

The hashes show that the files are those that the bundle was sealed with. They do not show who sealed it: a bundle of a
stranger may hold any numbers, and this very file may be another program.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import math
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, TextIO

import numpy as np

FORMAT = 2
"""Of the bundle's card."""

POSSIBLE = {"reflectance": (0.0, 1.5), "absorbance": (-0.2, 6.0)}
"""Quantity -> range outside of which a number is none of its kind."""

REFLECTANCE_FLOOR = 1e-4
"""Reflectance below this counts as this much."""

FLATTEST_ABSORBANCE = 1e-4
"""A scan whose absorbance spans less is constant, which no soil is."""

GRID_TOLERANCE_NM = 0.1
"""A column this near to one of the model's wavelengths is that band."""

SHORTEST_NM = 300.0
"""A first row of ascending numbers from here on is a header."""

LARGEST_FILE_BYTES = 1 << 28
"""A larger file of a bundle is refused before it is read."""

LARGEST_JSON_BYTES = 1 << 25
"""Likewise of JSON, which takes twenty times as much memory."""

LONGEST_ROW = 1 << 22
"""Characters of a row of a table, which may have several lines where cells are quoted."""

MOST_COLUMNS = 100_000
"""Of a table."""

LISTED = re.compile(r"([0-9a-f]{64})  ((?:c/(?:\w[\w.-]*/)?)?\w[\w.-]*)", re.ASCII)
"""A line of SHA256SUMS: hash and name of a file in the bundle or below its folder `c`."""

WIDTHS = {"id": 12, "value": 9, "interval": 24, "status": 7}
"""Least characters of a printed column. They cannot follow the table, which is not known before its end."""


class SoilScanError(ValueError):
    """The bundle, the table or the call is wrong; one line says what and how to mend it."""


@dataclass(frozen=True)
class Estimate:
    """What may be said of one scan."""

    status: str
    """`ok`, `outside` or `invalid`."""
    reason: str
    """Why the status is not `ok`; empty where it is."""
    values: dict[str, float] | None
    """Target -> laboratory units; None where the scan is invalid."""
    intervals: dict[str, tuple[float, float] | None] | None
    """Target -> lower and upper end in laboratory units, or None where none was calibrated; None likewise."""
    t2: float | None
    """Hotelling's T2: distance from the mean of the training soils."""
    q: float | None
    """Distance from their plane and from each of them."""

    def as_dict(self) -> dict[str, Any]:
        """What JSON knows."""
        facts = {"status": self.status, "reason": self.reason, "values": self.values, "intervals": self.intervals}
        return {**facts, "T2": self.t2, "Q": self.q}


class SoilScan:
    """A bundle, opened.

    Args:
        folder: The bundle.
        variant: Name of one of its models; the card names a default.
        sums: Name of the file of checksums; a bundle that is being made has another one.

    Raises:
        SoilScanError: this is no bundle, a file was changed, or there is no such variant.
    """

    def __init__(self, folder: str | Path, variant: str | None = None, sums: str = "SHA256SUMS") -> None:
        self.folder = Path(folder)
        self._sums = checksums(self.folder, sums)
        with readable(self.folder / "card.json"):
            self.card: dict[str, Any] = parsed(self._checked("card.json"))
            form = self.card.get("format")
        if form != FORMAT:
            raise SoilScanError(
                f"{self.folder}: card.json has format {form}, this soil_scan.py reads {FORMAT}; "
                "use the one of the bundle"
            )
        check_card(self.card, self.folder / "card.json")
        variants = self.card["variants"]
        self.variant: str = self.card["default_variant"] if variant is None else variant
        if self.variant not in variants:
            raise SoilScanError(f"{self.folder}: no variant {self.variant}; there are {', '.join(variants)}")
        self.quantity: str = self.card["input"]["quantity"]
        self.wavelengths_nm = np.array(self.card["input"]["wavelengths_nm"], "float64")
        self.targets: dict[str, dict[str, Any]] = self.card["targets"]
        bands, distances = len(self.wavelengths_nm), ("T2", "Q")
        self.front_end = None
        if variants[self.variant]["reads"] == "scan":
            self.network = self._opened(variants[self.variant])
            self.network.check(bands, dict.fromkeys((*self.targets, *distances), 1))
        else:
            self.network, self.front_end = self._opened(variants[self.variant]), self._opened(self.card["front_end"])
            features = size(self.network.input)
            self.front_end.check(bands, {"features": features, **dict.fromkeys(distances, 1)})
            self.network.check(features, dict.fromkeys(self.targets, 1))

    def estimate(self, scan: Any) -> Estimate:
        """Estimate one scan (bands,), in the card's quantity and on its wavelengths.

        Raises:
            SoilScanError: the scan has another number of bands.
        """
        scan = np.asarray(scan, "float32")
        if scan.shape != self.wavelengths_nm.shape:
            raise SoilScanError(
                f"a scan has shape {scan.shape}; this model reads {len(self.wavelengths_nm)} bands, "
                f"{self.wavelengths_nm[0]:g} to {self.wavelengths_nm[-1]:g} nm"
            )
        if reason := self.impossible(scan):
            return invalid(reason)
        outputs = self._run(scan)
        values = {name: outputs[name] for name in self.targets}
        t2, q = outputs["T2"], outputs["Q"]
        if not all(map(math.isfinite, outputs.values())):
            return invalid("the model gives no number for it")
        limits = self.card["domain"]["limits"]
        far = [name for name, distance in (("T2", t2), ("Q", q)) if distance > limits[name]]
        difficulty = math.sqrt(max(t2, 0.0) / limits["T2"])
        intervals = {
            name: interval(facts["interval"], values[name], difficulty) for name, facts in self.targets.items()
        }
        return Estimate(
            status="outside" if far else "ok",
            reason=f"unlike the training soils ({' and '.join(far)} beyond the limit)" if far else "",
            values=values,
            intervals=intervals,
            t2=t2,
            q=q,
        )

    def impossible(self, scan: np.ndarray) -> str:
        """Why this is no scan; empty where it may be one."""
        low, high = POSSIBLE[self.quantity]
        if not np.isfinite(scan).all():
            band = int(np.flatnonzero(~np.isfinite(scan))[0])
            return f"no number at {self.wavelengths_nm[band]:g} nm"
        if scan.min() < low or scan.max() > high:
            band = int(np.argmax((scan < low) | (scan > high)))
            hint = ""
            if high < scan.min() and scan.max() <= 150:
                hint = "; is it percent? " + (
                    "divide by 100" if self.quantity == "reflectance" else "give log10(100 / percent)"
                )
            return (
                f"{scan[band]:g} at {self.wavelengths_nm[band]:g} nm is no {self.quantity}, which lies within "
                f"{low:g}..{high:g}{hint}"
            )
        absorbance = scan
        if self.quantity == "reflectance":
            absorbance = -np.log10(np.maximum(scan, REFLECTANCE_FLOOR))
        return "constant, which no soil is" if np.ptp(absorbance) <= FLATTEST_ABSORBANCE else ""

    def _run(self, scan: np.ndarray) -> dict[str, float]:
        """Every target in laboratory units, T2 and Q."""
        if self.front_end is None:
            return {name: float(value.ravel()[0]) for name, value in self.network.run(scan).items()}
        first = self.front_end.run(scan)
        features = first.pop("features")
        if not np.isfinite(features).all():  # which no integer can say
            return dict.fromkeys((*self.targets, *first), math.nan)
        modelled = self.network.run(features)
        values = {
            name: to_lab(facts["modelled"], float(modelled[name].ravel()[0])) for name, facts in self.targets.items()
        }
        return {**values, **{name: float(distance.ravel()[0]) for name, distance in first.items()}}

    def _opened(self, facts: dict[str, Any]) -> Model:
        """The model that a part of the card describes.

        Raises:
            SoilScanError: there is none, or its file is missing, changed or damaged.
        """
        if facts["file"] is None:
            raise SoilScanError(f"{self.folder}: card.json names no front end for {self.variant}; export the run again")
        return Model(self._checked(facts["file"], facts.get("bytes")), self.folder / facts["file"])

    def _checked(self, name: str, expected_bytes: int | None = None) -> bytes:
        """The content of a file of the bundle.

        Raises:
            SoilScanError: it is missing, not listed, changed, or of another size than the card says.
        """
        content = file_content(self.folder / name, "copy the bundle again", expected_bytes)
        if hashlib.sha256(content).hexdigest() != self._sums.get(name):
            raise SoilScanError(f"{self.folder / name}: SHA-256 is not that of SHA256SUMS; copy the bundle again")
        return content


class Model:
    """A .tflite with one input, run on real numbers whatever it stores.

    Args:
        content: Of the file; check it first, for runtimes crash on damaged ones.
        file: Its path, for messages.

    Raises:
        SoilScanError: the interpreter does not take the file, or it has more than one input.
    """

    def __init__(self, content: bytes, file: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.file = file
        with readable(file):
            self._interpreter = Interpreter(model_content=content)
            self._interpreter.allocate_tensors()
            runner = self._interpreter.get_signature_runner()
            (self.input,) = runner.get_input_details().values()
            self.outputs = runner.get_output_details()

    def check(self, reads: int, gives: dict[str, int]) -> None:
        """Compare the model with its card.

        Args:
            reads: Numbers that the input holds.
            gives: Output name -> numbers that it holds.

        Raises:
            SoilScanError: the input or an output is another one.
        """
        found = {name: size(details) for name, details in self.outputs.items()}
        if (size(self.input), found) != (reads, gives):
            raise SoilScanError(
                f"{self.file}: reads {size(self.input)} numbers and gives {found}, not {reads} and {gives}; "
                "export the run again"
            )
        for details in (self.input, *self.outputs.values()):
            kind, (scale, _) = np.dtype(details["dtype"]), details["quantization"]
            stored = kind in (np.int8, np.int16) and math.isfinite(scale) and scale > 0
            if not (stored or (kind == np.float32 and not scale)):
                raise SoilScanError(
                    f"{self.file}: {details['name']} is {kind} with scale {scale:g}, expected float32 or a quantised "
                    "integer; export the run again"
                )

    def run(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Output name -> float32 array."""
        outputs = self.run_stored(quantise(values.reshape(self.input["shape"]), self.input))
        return {name: dequantise(value, self.outputs[name]) for name, value in outputs.items()}

    def run_stored(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """The same with numbers as the file stores them, from a fresh state: a recurrent operator else remembers.

        Raises:
            SoilScanError: the interpreter cannot run the file.
        """
        with readable(self.file):
            self._interpreter.reset_all_variables()
            self._interpreter.set_tensor(self.input["index"], values)
            self._interpreter.invoke()
            return {name: self._interpreter.get_tensor(details["index"]) for name, details in self.outputs.items()}


def size(details: dict[str, Any]) -> int:
    """Numbers that a tensor holds."""
    return math.prod(map(int, details["shape"]))


def repeat_golden(device: SoilScan) -> str:
    """How an opened variant repeats golden.json on this machine, in one line.

    Raises:
        SoilScanError: a scan has another status than recorded, or a value is further than is promised from Keras's (of
            a scan that is outside: from what was recorded).
    """
    with readable(device.folder / "golden.json"):
        return _repeated(device, parsed(device._checked("golden.json")))


def _repeated(device: SoilScan, facts: dict[str, Any]) -> str:
    recorded = facts["variants"][device.variant]
    same, share = 0, 0.0
    for case, expected in zip(facts["cases"], recorded["estimates"], strict=True):
        scan = [math.nan if value is None else value for value in case["scan"]]
        found = device.estimate(scan)
        if found.status != expected["status"]:
            raise SoilScanError(
                f"{device.variant}: golden scan {case['name']} is {found.status}, recorded was {expected['status']}"
            )
        same += json.loads(json.dumps(found.as_dict())) == expected
        if found.values is None or found.t2 is None or found.q is None:
            continue
        rooms = dict(recorded["tolerance"])
        for name, limit in device.card["domain"]["limits"].items():
            rooms[name] = facts["distance_tolerance"] * max(limit, case["keras"][name])
        # Of values that are outside nothing is promised but that every runtime says what was recorded.
        recorded_values = {} if found.status == "ok" else expected["values"]
        for name, value in {**found.values, "T2": found.t2, "Q": found.q}.items():
            said, wanted = "Keras says", case["keras"][name]
            if name in recorded_values:
                said, wanted = "recorded was", recorded_values[name]
            off, room = abs(value - wanted), rooms[name]
            if not off <= room:
                raise SoilScanError(
                    f"{device.variant}: {name} of golden scan {case['name']} is {value:.6g}, {said} {wanted:.6g} and "
                    f"{room:.3g} is promised"
                )
            share = max(share, off / room) if room else share
    count = len(facts["cases"])
    return (
        f"{device.variant}: {count} golden scans have the recorded status, {same} of them to the last bit; "
        f"the largest distance is {share:.0%} of what is promised"
    )


def quantise(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Real numbers as a tensor stores them."""
    kind, (scale, zero_point) = details["dtype"], details["quantization"]
    if not scale:
        return values.astype(kind)
    limits = np.iinfo(kind)
    stored: np.ndarray = np.clip(np.round(values / scale + zero_point), limits.min, limits.max).astype(kind)
    return stored


def dequantise(stored: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """A tensor's numbers as real ones."""
    scale, zero_point = details["quantization"]
    return scale * (stored.astype("float32") - zero_point) if scale else stored


def to_lab(modelled: dict[str, Any], value: float) -> float:
    """Standard deviations to laboratory units, clipped to the range that the training soils cover."""
    # min and max would turn NaN into a plausible number.
    if math.isnan(value):
        return value
    value = min(max(value, modelled["low"]), modelled["high"]) * modelled["sd"] + modelled["mean"]
    value = value * value if modelled["root"] else value
    return max(value, 0.0) if modelled["non_negative"] else value


def interval(facts: dict[str, Any] | None, value: float, difficulty: float) -> tuple[float, float] | None:
    """The range that holds the laboratory value with the card's coverage; None where none was calibrated."""
    if not facts or facts["half_width"] is None:
        return None
    centre = math.sqrt(max(value, 0.0)) if facts["root"] else value
    reach = facts["half_width"] * (1 + facts["growth"] * difficulty)
    return from_modelled(facts, centre - reach), from_modelled(facts, centre + reach)


def from_modelled(facts: dict[str, Any], value: float) -> float:
    """An end of an interval in laboratory units."""
    if facts["root"]:
        value = max(value, 0.0)
        value = value * value
    return max(value, 0.0) if facts["non_negative"] else value


def invalid(reason: str) -> Estimate:
    """The estimate of what is no scan of a soil."""
    return Estimate("invalid", reason, None, None, None, None)


def checksums(folder: Path, sums: str = "SHA256SUMS") -> dict[str, str]:
    """File name -> SHA-256 of a bundle.

    Raises:
        SoilScanError: the folder is no bundle, or a line is no hash with the name of a file in the bundle.
    """
    text = file_content(folder / sums, "give the folder of a bundle").decode("ascii", "replace")
    listed: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        found = LISTED.fullmatch(line)
        if found is None or found[2] in listed:
            raise SoilScanError(
                f"{folder / sums}: line {number} is no hash, two blanks and a file of the bundle that was not "
                "named before; copy the bundle again"
            )
        listed[found[2]] = found[1]
    return listed


def file_content(path: Path, way_out: str, expected_bytes: int | None = None) -> bytes:
    """The content of a regular file; a link, device or pipe is never opened, and a large file never read.

    Args:
        path: The file.
        way_out: What to do about one that cannot be read.
        expected_bytes: Its size, where that is known.

    Raises:
        SoilScanError: it is missing, no regular file, too large, or of another size.
    """
    try:
        facts = os.lstat(path)
        if not stat.S_ISREG(facts.st_mode):
            raise SoilScanError(f"{path}: is no regular file; {way_out}")
        if facts.st_size > LARGEST_FILE_BYTES or facts.st_size != (expected_bytes or facts.st_size):
            raise SoilScanError(
                f"{path}: has {facts.st_size:,} bytes, expected {expected_bytes or f'at most {LARGEST_FILE_BYTES:,}'}; "
                f"{way_out}"
            )
        flags = os.O_RDONLY
        for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # no system has all three
            flags |= getattr(os, name, 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            content = file.read(facts.st_size + 1)
    except OSError as error:
        raise SoilScanError(f"{path}: {error.strerror}; {way_out}") from None
    if len(content) != facts.st_size:
        raise SoilScanError(f"{path}: changes while it is read; {way_out}")
    return content


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Refuse a damaged file in one line, whatever error its content leads to.

    Raises:
        SoilScanError: naming the file.
    """
    try:
        yield
    except SoilScanError:
        raise
    except Exception as error:
        cause = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise SoilScanError(f"{file}: damaged ({cause}); copy the bundle again or export the run again") from None


def parsed(content: bytes) -> Any:
    """JSON in UTF-8 without NaN, infinity or doubled keys.

    Raises:
        ValueError: it is not. RecursionError: it is nested too deep.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("an object has a key twice")
        return dict(pairs)

    def refuse(number: str) -> None:
        raise ValueError(f"{number} is no number of JSON")

    if len(content) > LARGEST_JSON_BYTES:
        raise ValueError(f"has {len(content):,} bytes, expected at most {LARGEST_JSON_BYTES:,}")
    return json.loads(content.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)


Rule = tuple[str, Callable[[Any], bool]]
"""What is expected of a value, in words and as a check."""


def number(low: float, high: float) -> Rule:
    """An integer or float within a range; NaN and booleans are none."""
    return f"a number from {low:g} to {high:g}", lambda value: type(value) in (int, float) and low <= value <= high


def text(pattern: str, words: str) -> Rule:
    """A string that matches as a whole."""
    return words, lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None


def or_null(rule: Rule) -> Rule:
    """The same, or null."""
    return f"{rule[0]}, or null", lambda value: value is None or rule[1](value)


def or_missing(rule: Rule) -> Rule:
    """The same, or nothing."""
    return rule[0], lambda value: value is MISSING or rule[1](value)


def named(value: Any) -> bool:
    """Whether this is an object with plain names as keys."""
    return isinstance(value, dict) and bool(value) and all(map(NAME[1], value))


def ascending(value: Any) -> bool:
    """Whether this is a list of at least two ascending wavelengths in nm."""
    nm = value if isinstance(value, list) and len(value) > 1 and all(map(number(1, 1e6)[1], value)) else [0, 0]
    return all(one < after for one, after in pairwise(nm))


MISSING = object()
"""Stands for a value that is not there."""

FLAG: Rule = ("true or false", lambda value: isinstance(value, bool))
OBJECT: Rule = ("an object that is not empty", lambda value: isinstance(value, dict) and bool(value))
NAME = text(r"\w[\w.-]{0,99}", "a plain name")
SIZE = or_missing(number(1, LARGEST_FILE_BYTES))
CARD: dict[str, Rule] = {
    "input": OBJECT,
    "input.quantity": text("|".join(POSSIBLE), " or ".join(POSSIBLE)),
    "input.wavelengths_nm": ("at least two ascending wavelengths in nm", ascending),
    "targets": ("an object with plain names", named),
    "targets.*": OBJECT,
    "targets.*.modelled": OBJECT,
    "targets.*.modelled.root": FLAG,
    "targets.*.modelled.non_negative": FLAG,
    "targets.*.modelled.mean": number(-1e9, 1e9),
    "targets.*.modelled.sd": number(1e-9, 1e9),
    "targets.*.modelled.low": number(-1e9, 1e9),
    "targets.*.modelled.high": number(-1e9, 1e9),
    "targets.*.interval": or_null(OBJECT),
    "targets.*.interval.half_width": or_null(number(0, 1e9)),
    "targets.*.interval.growth": number(0, 1e3),
    "targets.*.interval.root": FLAG,
    "targets.*.interval.non_negative": FLAG,
    "domain": OBJECT,
    "domain.limits": OBJECT,
    "domain.limits.T2": number(1e-9, 1e12),
    "domain.limits.Q": number(0, 1e12),
    "front_end": OBJECT,
    "front_end.file": or_null(NAME),
    "front_end.bytes": SIZE,
    "variants": ("an object with plain names", named),
    "variants.*": OBJECT,
    "variants.*.file": NAME,
    "variants.*.bytes": SIZE,
    "variants.*.reads": text("scan|features_int8", "scan or features_int8"),
    "default_variant": NAME,
    "id_column": or_missing(("text", lambda value: isinstance(value, str))),
}
"""Place in card.json, `*` being every name -> what is read there."""


def check_card(card: dict[str, Any], file: Path) -> None:
    """Compare a card with CARD.

    Raises:
        SoilScanError: naming the first place that is missing or wrong.
    """
    for place, (expected, holds) in CARD.items():
        for where, value in places(card, place.split(".")):
            if not holds(value):
                kinds = {object: "nothing", dict: "an object", list: "a list"}
                received = kinds.get(type(value)) or f"{value!r:.50}"
                raise SoilScanError(f"{file}: {where}: expected {expected}, received {received}; export the run again")
    if card["default_variant"] not in card["variants"]:
        raise SoilScanError(f"{file}: default_variant names none of the variants; export the run again")


def places(value: Any, names: list[str]) -> Iterator[tuple[str, Any]]:
    """Name and value of each place that a path leads to; none below null."""
    if value is None and names:
        return
    if not names:
        yield "", value
        return
    first, *rest = names
    for name in list(value) if first == "*" else [first]:
        for where, found in places(value.get(name, MISSING), rest) if name in value else [("", MISSING)]:
            yield f"{name}.{where}".rstrip("."), found


class Lines:
    """Lines of a table for `csv.reader`, with an end to each row.

    Args:
        file: The table.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.left = LONGEST_ROW
        """Characters that the row may still have; set it anew after each row."""

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        line = self.file.readline(self.left + 1)
        if not line:
            raise StopIteration
        self.left -= len(line)
        if self.left < 0:
            raise SoilScanError(f"a row has more than {LONGEST_ROW:,} characters; give one scan per row")
        return line


def rows_of(file: TextIO) -> Iterator[list[str]]:
    """The rows of a CSV that are not blank, each as soon as its line is there.

    Raises:
        SoilScanError: it is no CSV, or a row or cell has no end.
    """
    lines, number = Lines(file), 0
    first = next((line for line in lines if line.strip()), "")
    separator = max(";\t,", key=first.count)
    try:
        for row in csv.reader(chain([first], lines), delimiter=separator):
            lines.left = LONGEST_ROW
            if any(cell.strip() for cell in row):
                yield row
                number += 1
    except csv.Error as error:
        raise SoilScanError(f"{error}, after {number} rows; save the table as CSV, one scan per row") from None


def read_scans(file: TextIO, wavelengths_nm: np.ndarray, id_column: str = "id") -> Iterator[tuple[str, np.ndarray]]:
    """Id and scan (bands,) of each row of a CSV, row by row; a cell that is no number is NaN.

    Raises:
        SoilScanError: the table is empty, does not hold the model's bands, or a row has another number of cells.
    """
    rows = rows_of(file)
    head = next(rows, None)
    if head is None:
        raise SoilScanError("the table is empty; give one scan per row")
    if len(head) > MOST_COLUMNS:
        raise SoilScanError(f"the table has {len(head):,} columns, expected at most {MOST_COLUMNS:,}")
    names = [band_nm(cell) for cell in head]
    bands = [(nm, position) for position, nm in enumerate(names) if nm is not None and nm >= SHORTEST_NM]
    positions: Sequence[int] = range(len(wavelengths_nm))
    id_position, expected = None, len(wavelengths_nm)
    if bands:
        positions, expected = positions_of(wavelengths_nm, bands), len(head)
        lower = [cell.strip().lower() for cell in head]
        known = [lower.index(name) for name in (id_column.lower(), "id") if name in lower]
        id_position = known[0] if known else None
    else:
        rows = chain([head], rows)
    for number, row in enumerate(rows, 1):
        if len(row) != expected:
            raise SoilScanError(f"row {number} has {len(row)} cells, not {expected}; one scan per row, no cell missing")
        identity = row[id_position].strip() if id_position is not None else ""
        yield identity or f"row{number}", numbers_of([row[at] for at in positions])


def positions_of(wavelengths_nm: np.ndarray, bands: list[tuple[float, int]]) -> list[int]:
    """Where the model's bands stand in a table.

    Raises:
        SoilScanError: one is not there.
    """
    named = np.array([nm for nm, _ in bands])
    nearest = [int(np.argmin(np.abs(named - nm))) for nm in wavelengths_nm]
    missing = np.flatnonzero(np.abs(named[nearest] - wavelengths_nm) > GRID_TOLERANCE_NM)
    if missing.size:
        raise SoilScanError(
            f"{len(named)} bands from {named.min():g} to {named.max():g} nm, none of them at "
            f"{wavelengths_nm[missing[0]]:g} nm; the model reads {len(wavelengths_nm)} from {wavelengths_nm[0]:g} to "
            f"{wavelengths_nm[-1]:g} nm, python -m relple_tf.predict interpolates to them"
        )
    return [bands[at][1] for at in nearest]


def band_nm(name: str) -> float | None:
    """The wavelength that a column's name says: `1100`, `X1100`, `1100.5nm`, `spc.400`; None where it says none."""
    found = re.fullmatch(r"(?:x|nm|spc\.?)?(\d+(?:[.,]\d+)?)(?:\s*nm)?", name.strip().lower())
    return float(found[1].replace(",", ".")) if found else None


def numbers_of(cells: list[str]) -> np.ndarray:
    """The numbers of cells (n,); NaN where one holds none."""
    try:
        numbers = list(map(float, cells))  # most tables hold nothing else, and this is three times as fast
    except ValueError:
        numbers = [number_of(cell) for cell in cells]
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, which is no scan
        return np.array(numbers, "float32")


def number_of(cell: str) -> float:
    """A cell's number; NaN where it holds none."""
    try:
        return float(cell.strip().replace(",", "."))
    except ValueError:
        return math.nan


def head_line(targets: dict[str, dict[str, Any]]) -> str:
    """Names of the columns of `line_of`."""
    return padded(targets, ["id", *targets, "status", ""])


def line_of(targets: dict[str, dict[str, Any]], identity: str, found: Estimate) -> str:
    """An estimate for people to read: a value with its interval for each target."""
    cells = []
    for name in targets:
        if found.values is None or found.intervals is None:
            cells.append("-")
            continue
        ends = found.intervals[name]
        cells.append(f"{found.values[name]:.4g}" + (f" ({ends[0]:.4g} to {ends[1]:.4g})" if ends else ""))
    return padded(targets, [as_text(identity), *cells, found.status, found.reason])


def padded(targets: dict[str, dict[str, Any]], cells: list[str]) -> str:
    """Cells of a line, each as wide as WIDTHS and its target's name ask for at least."""
    kinds = ["value" if facts["interval"] is None else "interval" for facts in targets.values()]
    widths = [max(WIDTHS[kind], len(name)) for kind, name in zip(kinds, targets, strict=True)]
    columns = [WIDTHS["id"], *widths, WIDTHS["status"], 0]
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, columns, strict=True)).rstrip()


def as_text(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; numbers stay what they are."""
    cell = printable(cell)
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) and math.isnan(number_of(cell)) else cell


def printable(text: str) -> str:
    """Text in one line, without what a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def answer(line: str) -> None:
    """Print a line at once.

    Raises:
        OSError: it cannot be written, or whoever read the answers has gone.
    """
    try:
        print(line, flush=True)
    except OSError:
        # At its end, Python would try once more to write what is left, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def answer_all(device: SoilScan, table: TextIO, *, as_json: bool) -> None:
    """Estimate and print each row of a table before the next one is read.

    Raises:
        SoilScanError: of `read_scans`.
    """
    head = "" if as_json else head_line(device.targets)
    for identity, scan in read_scans(table, device.wavelengths_nm, device.card.get("id_column", "")):
        found = device.estimate(scan)
        if as_json:
            answer(json.dumps({"id": identity, **found.as_dict()}, allow_nan=False))
            continue
        if head:
            answer(head)
            head = ""
        answer(line_of(device.targets, identity, found))


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, estimate, print; 0, 2 where bundle, table or command are wrong, 130 at Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle", metavar="BUNDLE", type=Path)
    parser.add_argument(
        "scans", metavar="SCANS", nargs="?", default="-", help="a CSV; - is standard input, the default"
    )
    parser.add_argument("--variant", metavar="NAME", help="which of the bundle's models; its card names a default")
    parser.add_argument("--json", action="store_true", help="a JSON object per line instead of a table")
    parser.add_argument(
        "--golden", action="store_true", help="repeat the golden scans (of every variant without --variant)"
    )
    options = parser.parse_args(arguments)
    if options.golden and (options.json or options.scans != "-"):
        parser.error("--golden reads the scans of the bundle and prints a line per variant; leave SCANS and --json out")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an id need not be of the terminal's alphabet
    try:
        device = SoilScan(options.bundle, options.variant)
        if options.golden:
            for name in [options.variant] if options.variant else device.card["variants"]:
                answer(repeat_golden(SoilScan(options.bundle, name)))
            return 0
        is_pipe = options.scans == "-"
        source = sys.stdin.fileno() if is_pipe else options.scans
        # A byte that is no UTF-8 spoils its cell, not the table.
        with open(source, encoding="utf-8-sig", errors="replace", newline="", closefd=not is_pipe) as table:
            answer_all(device, table, as_json=options.json)
    except BrokenPipeError:
        return 0  # as of `| head`: whoever reads has enough
    except KeyboardInterrupt:
        return 130
    except (SoilScanError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
