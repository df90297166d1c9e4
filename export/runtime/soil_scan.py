"""Predict soil values from raw scans on a device: `python soil_scan.py BUNDLE [SCANS.csv|-] [--variant NAME] [--json]`.

`--need OC_g_kg=3,pH=0.3` adds a decision per named target: `keep` while the scan is `ok` and the larger distance of the
value to the ends of its interval is at most this number, in the unit of the target; otherwise `send`: send the soil to
the laboratory.

`python soil_scan.py BUNDLE --golden` runs the golden scans of the bundle on every variant and compares the results with
the output of Keras and with the recorded results.

This single file needs Python 3.10, numpy, ai-edge-litert and a bundle of relple_tf. A file of the bundle is opened only
if its SHA-256 equals the one in SHA256SUMS. The result of a scan is values with intervals, and a status: `ok`;
`outside`, if the scan differs from all training soils; `invalid`, without any number, if it cannot be the scan of a
soil.

    from soil_scan import SoilScan

    device = SoilScan("bundle")
    print(device.estimate(scan))

A table of scans is a CSV with a scan in each row, wavelengths in nm as column names and optionally a column `id`. Scans
with other wavelengths than the model's are interpolated linearly. Where they end a little before the model's range, by
no more than `input.end_tolerance_nm` of card.json, their end value is held. A note on standard error states both. In a
table without a header, each row holds the values of a scan at the wavelengths of the model. The result of a row is
printed before the next row is read, so the table may be an endless pipe:
`tail -f scans.csv | python soil_scan.py BUNDLE - --json`. A cell that is not a number makes its scan `invalid`. A row
with a wrong number of cells ends the program with exit code 2, after the results of the earlier rows.

The hashes show that the files did not change after the export. They do not show who made them: a bundle from an unknown
source may hold wrong numbers, and its soil_scan.py may be another program.
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
"""Format number in card.json that this file reads."""

POSSIBLE = {"reflectance": (0.0, 1.5), "absorbance": (-0.2, 6.0)}
"""Quantity -> smallest and largest possible value."""

REFLECTANCE_FLOOR = 1e-4
"""Smaller reflectances are replaced by this one."""

FLATTEST_ABSORBANCE = 1e-4
"""A scan counts as constant, and invalid, if the range of its absorbance is at most this."""

STATUS_TEXTS = {
    "ok": "ok",
    "outside": "outside: different from the training soils",
    "not finite": "invalid: a value is not a finite number",
    "out of range": "invalid: a value is outside the possible range",
    "constant": "invalid: constant spectrum",
    "wrong wavelengths": "invalid: the wavelengths do not cover those of the model",
}
"""Status, for an invalid scan its cause -> text for a display, in the order of `soil_status` of the C code."""

SAME_NM = 1e-3
"""Wavelengths that differ by no more are equal; names of columns are often rounded to this precision."""

SHORTEST_NM = 300.0
"""A number in the first row from here on is a wavelength; a row with such a number is a header."""

LARGEST_FILE_BYTES = 1 << 28
"""A larger file is refused before it is read."""

LARGEST_JSON_BYTES = 1 << 25
"""The limit of JSON files, which take twenty times their size in memory."""

LONGEST_ROW = 1 << 22
"""Most characters in a row of a table; a row with quoted cells may have several lines."""

MOST_COLUMNS = 100_000
"""Most columns in a table."""

LISTED = re.compile(r"([0-9a-f]{64})  ((?:c/(?:\w[\w.-]*/){0,2})?\w[\w.-]*)", re.ASCII)
"""A line of SHA256SUMS: the hash and the name of a file, in the bundle or below its folder `c`."""

NEED_TOLERANCE = 1e-6
"""A half width may exceed the need by this fraction, so that rounding of float32 does not change a decision."""

WIDTHS = {"id": 12, "value": 9, "interval": 24, "status": 7}
"""Smallest widths of printed columns, in characters; fixed, because the rest of the table is not known yet."""


class SoilScanError(ValueError):
    """The bundle, the table or the call is wrong; the message is a line with the error and the remedy."""


@dataclass(frozen=True)
class Estimate:
    """The result of a scan."""

    status: str
    """`ok`, `outside` or `invalid`."""
    reason: str
    """Why the status is not `ok`; otherwise empty."""
    values: dict[str, float] | None
    """Target -> value in laboratory units; None if the scan is invalid."""
    intervals: dict[str, tuple[float, float] | None] | None
    """Target -> lower and upper end in laboratory units, or None if it has no interval; None if the scan is invalid."""
    t2: float | None
    """Hotelling's T2: distance from the mean of the training soils."""
    q: float | None
    """The larger of the residual outside their plane and the scaled distance from the nearest of them."""

    def as_dict(self) -> dict[str, Any]:
        """The result as values that JSON can store."""
        facts = {"status": self.status, "reason": self.reason, "values": self.values, "intervals": self.intervals}
        return {**facts, "T2": self.t2, "Q": self.q}


@dataclass(frozen=True)
class Bands:
    """The bands that a model reads, and how well those of a scan must cover them."""

    wavelengths_nm: np.ndarray
    """(bands,), ascending."""
    end_tolerance_nm: tuple[float, float]
    """Largest distance by which a scan may miss the low and the high end; there, its end value is held."""
    gap_nm: np.ndarray
    """(bands,) largest distance to the nearest band of a scan."""

    @classmethod
    def of(cls, card: dict[str, Any]) -> Bands:
        """The bands in a card; bundles of version 0.2.0 do not state the tolerance, so it is computed."""
        wavelengths_nm = np.array(card["input"]["wavelengths_nm"], "float64")
        grid_nm = np.array(card["front_end"]["grid_nm"], "float64")
        tolerance_nm = np.maximum(end_spacings(wavelengths_nm), end_spacings(grid_nm))
        low, high = card["input"].get("end_tolerance_nm") or tolerance_nm
        gap_nm = np.maximum(np.gradient(wavelengths_nm), grid_nm[1] - grid_nm[0])
        return cls(wavelengths_nm, (float(low), float(high)), gap_nm)


class SoilScan:
    """An open bundle with one of its variants.

    Args:
        folder: The bundle.
        variant: Name of the variant; None is the default variant of the card.
        sums: Name of the file of checksums; it is different while the bundle is being made.

    Raises:
        SoilScanError: the folder is not a bundle, a file was changed, or the variant does not exist.
    """

    def __init__(self, folder: str | Path, variant: str | None = None, sums: str = "SHA256SUMS") -> None:
        self.folder = Path(folder)
        self._sums = checksums(self.folder, sums)
        with readable(self.folder / "card.json"):
            self.card: dict[str, Any] = parsed(self._checked("card.json"))
            card_format = self.card.get("format")
        if card_format != FORMAT:
            raise SoilScanError(
                f"{self.folder}: card.json: expected format {FORMAT}, received format {card_format}; "
                "use the soil_scan.py of the bundle"
            )
        check_card(self.card, self.folder / "card.json")
        variants = self.card["variants"]
        self.variant: str = self.card["default_variant"] if variant is None else variant
        if self.variant not in variants:
            raise SoilScanError(f"{self.folder}: no variant {self.variant}; there are {', '.join(variants)}")
        self.quantity: str = self.card["input"]["quantity"]
        self.bands = Bands.of(self.card)
        self.wavelengths_nm = self.bands.wavelengths_nm
        self.targets: dict[str, dict[str, Any]] = self.card["targets"]
        facts = variants[self.variant]
        self.model = Model(self._checked(facts["file"], facts.get("bytes")), self.folder / facts["file"])
        self.model.check(len(self.wavelengths_nm), (*self.targets, "T2", "Q"))

    def estimate(self, scan: Any) -> Estimate:
        """Predict from a scan (bands,), in the quantity and at the wavelengths of the card.

        Raises:
            SoilScanError: the number of bands is wrong.
        """
        scan = np.asarray(scan, "float32")
        if scan.shape != self.wavelengths_nm.shape:
            raise SoilScanError(
                f"scan: received shape {scan.shape}, expected {len(self.wavelengths_nm)} bands, "
                f"{self.wavelengths_nm[0]:g} to {self.wavelengths_nm[-1]:g} nm"
            )
        if reason := self.impossible(scan):
            return invalid(reason)
        outputs = self.model.run(scan)
        values = {name: outputs[name] for name in self.targets}
        t2, q = outputs["T2"], outputs["Q"]
        if not all(map(math.isfinite, outputs.values())):
            return invalid("the output of the model is not finite")
        limits = self.card["domain"]["limits"]
        far = [name for name, statistic in (("T2", t2), ("Q", q)) if statistic > limits[name]]
        difficulty = math.sqrt(max(t2, 0.0) / limits["T2"])
        intervals = {
            name: interval(facts["interval"], values[name], difficulty) for name, facts in self.targets.items()
        }
        return Estimate(
            status="outside" if far else "ok",
            reason=f"different from the training soils ({' and '.join(far)} above the limit)" if far else "",
            values=values,
            intervals=intervals,
            t2=t2,
            q=q,
        )

    def decisions(self, estimate: Estimate, needs: dict[str, float]) -> dict[str, str]:
        """Decide for each target in `needs` whether its value is precise enough.

        Args:
            estimate: Result of `estimate`.
            needs: Target -> largest half width that is accepted, in the unit of the target; from `needs_of`.

        Returns:
            Target -> `keep` while the status is `ok` and the larger distance of the value to the ends of its interval
            is at most the need; otherwise `send`: send the soil to the laboratory.
        """
        return {target: "keep" if is_kept(estimate, target, need) else "send" for target, need in needs.items()}

    def impossible(self, scan: np.ndarray) -> str:
        """Why the scan is not possible; empty if it is possible."""
        low, high = POSSIBLE[self.quantity]
        if not np.isfinite(scan).all():
            band = int(np.flatnonzero(~np.isfinite(scan))[0])
            return f"not a finite number at {self.wavelengths_nm[band]:g} nm"
        if scan.min() < low or scan.max() > high:
            band = int(np.argmax((scan < low) | (scan > high)))
            hint = ""
            if high < scan.min() and scan.max() <= 150:
                hint = "; is it percent? " + (
                    "divide by 100" if self.quantity == "reflectance" else "give log10(100 / percent)"
                )
            return (
                f"{self.quantity} {scan[band]:g} at {self.wavelengths_nm[band]:g} nm, expected {low:g}..{high:g}{hint}"
            )
        absorbance = scan
        if self.quantity == "reflectance":
            absorbance = -np.log10(np.maximum(scan, REFLECTANCE_FLOOR))
        return "constant spectrum" if np.ptp(absorbance) <= FLATTEST_ABSORBANCE else ""

    def _checked(self, name: str, expected_bytes: int | None = None) -> bytes:
        """Read a file of the bundle and check its hash.

        Raises:
            SoilScanError: the file is missing, not listed or changed, or its size is not that in the card.
        """
        content = file_content(self.folder / name, "copy the bundle again", expected_bytes)
        if hashlib.sha256(content).hexdigest() != self._sums.get(name):
            raise SoilScanError(f"{self.folder / name}: SHA-256 differs from SHA256SUMS; copy the bundle again")
        return content


class Model:
    """A .tflite with one input: a scan in, laboratory values, T2 and Q out.

    Args:
        content: Content of the file; check its hash first, because runtimes crash on damaged files.
        file: Path of the file, for messages.

    Raises:
        SoilScanError: the interpreter cannot read the file, or it does not have exactly one input.
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

    def check(self, bands: int, outputs: Sequence[str]) -> None:
        """Compare the model with its card: it must read `bands` float32 values and write one for each output.

        Raises:
            SoilScanError: the input or an output differs.
        """
        expected = (bands, "float32"), dict.fromkeys(outputs, (1, "float32"))
        received = port(self.input), {name: port(details) for name, details in self.outputs.items()}
        if received != expected:
            raise SoilScanError(
                f"{self.file}: expected input and outputs {expected}, received {received}; export the run again"
            )

    def run(self, scan: np.ndarray) -> dict[str, float]:
        """Output name -> value; resets first, because a recurrent operator keeps its state.

        Args:
            scan: (bands,) float32.

        Raises:
            SoilScanError: the interpreter cannot run the file.
        """
        with readable(self.file):
            self._interpreter.reset_all_variables()
            self._interpreter.set_tensor(self.input["index"], scan.reshape(self.input["shape"]))
            self._interpreter.invoke()
            return {
                name: float(self._interpreter.get_tensor(details["index"]).ravel()[0])
                for name, details in self.outputs.items()
            }


def port(details: dict[str, Any]) -> tuple[int, str]:
    """Number of elements and type of a tensor."""
    return math.prod(map(int, details["shape"])), np.dtype(details["dtype"]).name


def repeat_golden(device: SoilScan) -> str:
    """Run the scans of golden.json with an open variant and summarise the result in one line.

    Raises:
        SoilScanError: the status of a scan differs from the recorded one, or the difference between a value and that of
            Keras (for a target of an outside scan: the recorded value) exceeds the tolerance.
    """
    with readable(device.folder / "golden.json"):
        return _repeated(device, parsed(device._checked("golden.json")))


def _repeated(device: SoilScan, facts: dict[str, Any]) -> str:
    recorded = facts["variants"][device.variant]
    same, largest = 0, 0.0
    for case, expected in zip(facts["cases"], recorded["estimates"], strict=True):
        scan = [math.nan if value is None else value for value in case["scan"]]
        estimate = device.estimate(scan)
        if estimate.status != expected["status"]:
            raise SoilScanError(
                f"{device.variant}: status of golden scan {case['name']}: expected {expected['status']}, received "
                f"{estimate.status}"
            )
        same += json.loads(json.dumps(estimate.as_dict())) == expected
        if estimate.values is None or estimate.t2 is None or estimate.q is None:
            continue
        tolerances = dict(recorded["tolerance"])
        for name, limit in device.card["domain"]["limits"].items():
            tolerances[name] = facts["distance_tolerance"] * max(limit, case["keras"][name])
        # Targets of an outside scan have no tolerance against Keras; all runtimes must repeat the recorded values.
        recorded_values = {} if estimate.status == "ok" else expected["values"]
        for name, value in {**estimate.values, "T2": estimate.t2, "Q": estimate.q}.items():
            source, reference = "Keras", case["keras"][name]
            if name in recorded_values:
                source, reference = "recorded", recorded_values[name]
            difference, tolerance = abs(value - reference), tolerances[name]
            if not difference <= tolerance:
                raise SoilScanError(
                    f"{device.variant}: {name} of golden scan {case['name']}: expected {reference:.6g} ({source}) "
                    f"within {tolerance:.3g}, received {value:.6g}"
                )
            largest = max(largest, difference / tolerance) if tolerance else largest
    count = len(facts["cases"])
    return (
        f"{device.variant}: {count} golden scans have the recorded status, {same} of them to the last bit; "
        f"the largest difference is {largest:.0%} of the tolerance"
    )


def interval(facts: dict[str, Any] | None, value: float, difficulty: float) -> tuple[float, float] | None:
    """Interval of the laboratory value, with the coverage in the card; None if the target has no interval."""
    if not facts or facts["half_width"] is None:
        return None
    centre = math.sqrt(max(value, 0.0)) if facts["root"] else value
    reach = facts["half_width"] * (1 + facts["growth"] * difficulty)
    return from_modelled(facts, centre - reach), from_modelled(facts, centre + reach)


def from_modelled(facts: dict[str, Any], value: float) -> float:
    """Convert an end of an interval to laboratory units."""
    if facts["root"]:
        value = max(value, 0.0)
        value = value * value
    return max(value, 0.0) if facts["non_negative"] else value


def is_kept(estimate: Estimate, target: str, need: float) -> bool:
    """Whether an estimate has status `ok` and a half width of the target's interval within the need."""
    if estimate.status != "ok" or estimate.values is None or estimate.intervals is None:
        return False
    value, ends = estimate.values[target], estimate.intervals[target]
    return ends is not None and max(value - ends[0], ends[1] - value) <= need * (1 + NEED_TOLERANCE)


def needs_of(words: str, targets: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Parse needs such as `OC_g_kg=3,pH=0.3`: target -> largest half width that is accepted, in its unit.

    Args:
        words: The needs.
        targets: Entry `targets` of the card.

    Raises:
        SoilScanError: a target is unknown, repeated or without interval, or a width is not a finite number above 0.
    """
    needs: dict[str, float] = {}
    for part in words.split(","):
        target, equals, width = (piece.strip() for piece in part.partition("="))
        if not (target and equals and width):
            raise SoilScanError(
                f"--need: expected TARGET=WIDTH,... such as OC_g_kg=3,pH=0.3, received {part.strip() or 'nothing'!r}"
            )
        if target in needs:
            raise SoilScanError(f"--need: {target} is given twice; give one width per target")
        if target not in targets:
            raise SoilScanError(f"--need: the bundle has no target {target}; it has {', '.join(targets)}")
        if not targets[target]["interval"] or targets[target]["interval"]["half_width"] is None:
            raise SoilScanError(
                f"--need: {target} has no prediction interval in this bundle (no folds, or too few soils)"
            )
        try:
            needs[target] = float(width)
        except ValueError:
            needs[target] = math.nan
        if not 0 < needs[target] < math.inf:
            raise SoilScanError(f"--need: {target}: expected a finite number above 0, received {width!r}")
    return needs


def shows_values(status: str, user_asks: bool) -> bool:
    """Whether to display the values of a scan: with status `ok`; with `outside` only if the user asks for them."""
    return status == "ok" or (status == "outside" and user_asks)


def invalid(reason: str) -> Estimate:
    """The result of a scan that cannot be the scan of a soil."""
    return Estimate("invalid", reason, None, None, None, None)


def checksums(folder: Path, sums: str = "SHA256SUMS") -> dict[str, str]:
    """Read SHA256SUMS of a bundle: file name -> SHA-256.

    Raises:
        SoilScanError: the folder is not a bundle, or a line does not hold a hash and a new file name.
    """
    if not folder.is_dir():
        received = "a file" if folder.exists() else "no such folder"
        raise SoilScanError(
            f"{folder}: expected the folder of a bundle, received {received}; give the folder of a bundle, then the "
            "table: soil_scan.py BUNDLE SCANS"
        )
    text = file_content(folder / sums, "give the folder of a bundle").decode("ascii", "replace")
    listed: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = LISTED.fullmatch(line)
        if match is None or match[2] in listed:
            raise SoilScanError(
                f"{folder / sums}: line {number}: expected a SHA-256, two spaces and a file of the bundle that no "
                "earlier line names; copy the bundle again"
            )
        listed[match[2]] = match[1]
    return listed


def file_content(path: Path, remedy: str, expected_bytes: int | None = None) -> bytes:
    """Read a regular file; links, devices and pipes are never opened, and large files are never read.

    Args:
        path: The file.
        remedy: End of the error message: what the user can do.
        expected_bytes: Size of the file, if it is known.

    Raises:
        SoilScanError: the file is missing, not a regular file, too large, or its size is not the expected one.
    """
    try:
        facts = os.lstat(path)
        if not stat.S_ISREG(facts.st_mode):
            raise SoilScanError(f"{path}: is not a regular file; {remedy}")
        if facts.st_size > LARGEST_FILE_BYTES or facts.st_size != (expected_bytes or facts.st_size):
            raise SoilScanError(
                f"{path}: has {facts.st_size:,} bytes, expected {expected_bytes or f'at most {LARGEST_FILE_BYTES:,}'}; "
                f"{remedy}"
            )
        flags = os.O_RDONLY
        for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # no system defines all three
            flags |= getattr(os, name, 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            content = file.read(facts.st_size + 1)
    except OSError as error:
        raise SoilScanError(f"{path}: {error.strerror}; {remedy}") from None
    if len(content) != facts.st_size:
        raise SoilScanError(f"{path}: changed while it was read; {remedy}")
    return content


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Turn any error that a damaged file causes into a message of one line.

    Raises:
        SoilScanError: the file is damaged; the message names it.
    """
    try:
        yield
    except SoilScanError:
        raise
    except Exception as error:
        cause = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise SoilScanError(f"{file}: damaged ({cause}); copy the bundle again or export the run again") from None


def parsed(content: bytes) -> Any:
    """Parse JSON in UTF-8 without NaN, infinity or duplicate keys.

    Raises:
        ValueError: the content is not such JSON.
        RecursionError: it is nested too deep.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("an object has a duplicate key")
        return dict(pairs)

    def refuse(number: str) -> None:
        raise ValueError(f"{number} is not a JSON number")

    if len(content) > LARGEST_JSON_BYTES:
        raise ValueError(f"has {len(content):,} bytes, expected at most {LARGEST_JSON_BYTES:,}")
    return json.loads(content.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)


Rule = tuple[str, Callable[[Any], bool]]
"""The expected value: a description in words, and a check."""


def number(low: float, high: float) -> Rule:
    """Rule: an integer or float within a range; NaN and booleans do not match."""
    return f"a number from {low:g} to {high:g}", lambda value: type(value) in (int, float) and low <= value <= high


def text(pattern: str, words: str) -> Rule:
    """Rule: a string that the pattern matches completely."""
    return words, lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None


def or_null(rule: Rule) -> Rule:
    """Rule: as `rule`, or null."""
    return f"{rule[0]}, or null", lambda value: value is None or rule[1](value)


def or_missing(rule: Rule) -> Rule:
    """Rule: as `rule`, or no value."""
    return rule[0], lambda value: value is MISSING or rule[1](value)


def named(value: Any) -> bool:
    """Whether the value is an object that has plain names as keys and is not empty."""
    return isinstance(value, dict) and bool(value) and all(map(NAME[1], value))


def ascending(value: Any) -> bool:
    """Whether the value is a list of at least two ascending wavelengths in nm."""
    nm = value if isinstance(value, list) and len(value) > 1 and all(map(number(1, 1e6)[1], value)) else [0, 0]
    return all(shorter < longer for shorter, longer in pairwise(nm))


def two_distances(value: Any) -> bool:
    """Whether the value is a list of two distances in nm."""
    return isinstance(value, list) and len(value) == 2 and all(map(number(0, 1000)[1], value))


MISSING = object()
"""Marks a missing value."""

FLAG: Rule = ("true or false", lambda value: isinstance(value, bool))
OBJECT: Rule = ("an object that is not empty", lambda value: isinstance(value, dict) and bool(value))
NAME = text(r"\w[\w.-]{0,99}", "a plain name")
SIZE = or_missing(number(1, LARGEST_FILE_BYTES))
CARD: dict[str, Rule] = {
    "input": OBJECT,
    "input.quantity": text("|".join(POSSIBLE), " or ".join(POSSIBLE)),
    "input.wavelengths_nm": ("at least two ascending wavelengths in nm", ascending),
    "input.end_tolerance_nm": or_missing(("two distances in nm", two_distances)),
    "targets": ("an object with plain names", named),
    "targets.*": OBJECT,
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
    "front_end.grid_nm": ("at least two ascending wavelengths in nm", ascending),
    "variants": ("an object with plain names", named),
    "variants.*": OBJECT,
    "variants.*.file": NAME,
    "variants.*.bytes": SIZE,
    "variants.*.reads": text("scan", "scan"),
    "default_variant": NAME,
    "id_column": or_missing(("text", lambda value: isinstance(value, str))),
}
"""Path in card.json, in which `*` is every name -> rule for the value."""


def check_card(card: dict[str, Any], file: Path) -> None:
    """Check a card against the rules in CARD.

    Raises:
        SoilScanError: a value is missing or wrong; the message holds the path of the first such value.
    """
    for pattern, (expected, matches) in CARD.items():
        for path, value in values_at(card, pattern.split(".")):
            if not matches(value):
                kinds = {object: "nothing", dict: "an object", list: "a list"}
                received = kinds.get(type(value)) or f"{value!r:.50}"
                raise SoilScanError(f"{file}: {path}: expected {expected}, received {received}; export the run again")
    if card["default_variant"] not in card["variants"]:
        raise SoilScanError(f"{file}: default_variant: expected the name of a variant; export the run again")


def values_at(value: Any, names: list[str]) -> Iterator[tuple[str, Any]]:
    """Path and value of each match of a pattern; null has no values below it."""
    if value is None and names:
        return
    if not names:
        yield "", value
        return
    first, *rest = names
    for name in list(value) if first == "*" else [first]:
        for path, inner in values_at(value.get(name, MISSING), rest) if name in value else [("", MISSING)]:
            yield f"{name}.{path}".rstrip("."), inner


class Lines:
    """Lines of a table for `csv.reader`, with a limit on the length of a row.

    Args:
        file: The table.
    """

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.left = LONGEST_ROW
        """Characters that remain for the current row; the reader resets it after each row."""

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        line = self.file.readline(self.left + 1)
        if not line:
            raise StopIteration
        self.left -= len(line)
        if self.left < 0:
            raise SoilScanError(f"a row has more than {LONGEST_ROW:,} characters; give a scan per row")
        return line


def rows_of(file: TextIO) -> Iterator[list[str]]:
    """Read the rows of a CSV that are not blank, each as soon as its line has arrived.

    Raises:
        SoilScanError: the table is not a CSV, or a row or cell is too long.
    """
    lines, number = Lines(file), 0
    first = next((line for line in lines if line.strip()), "")
    separator = separator_of(first)
    try:
        for row in csv.reader(chain([first], lines), delimiter=separator):
            lines.left = LONGEST_ROW
            if any(cell.strip() for cell in row):
                yield row
                number += 1
    except csv.Error as error:
        raise SoilScanError(f"{error}, after {number} rows; save the table as CSV, a scan per row") from None


def separator_of(line: str) -> str:
    """The separator of a line; its commas may be decimal commas, of which there is at most one per cell."""
    other = max(";\t", key=line.count)
    return other if 0 < line.count(other) >= line.count(",") - 1 else ","


def read_scans(
    file: TextIO, model: Bands, id_column: str = "id", notify: Callable[[str], None] = lambda note: None
) -> Iterator[tuple[str, np.ndarray]]:
    """Read id and scan (bands,) of each row of a CSV, row by row; a cell that is not a number becomes NaN.

    Args:
        file: The table.
        model: The bands of the model, to which scans with other wavelengths are interpolated.
        id_column: Name of the column of ids.
        notify: Called with each note on the wavelengths of the table, before the first row.

    Raises:
        SoilScanError: the table is empty or does not cover the bands of the model, or a row has a wrong number of
            cells.
    """
    rows = rows_of(file)
    head = next(rows, None)
    if head is None:
        raise SoilScanError("the table is empty; give a scan per row")
    if len(head) > MOST_COLUMNS:
        raise SoilScanError(f"the table has {len(head):,} columns, expected at most {MOST_COLUMNS:,}")
    names = [band_nm(cell) for cell in head]
    named = sorted((nm, position) for position, nm in enumerate(names) if nm is not None and nm >= SHORTEST_NM)
    wavelengths_nm = model.wavelengths_nm
    positions: Sequence[int] = range(len(wavelengths_nm))
    id_position, expected, named_nm = None, len(wavelengths_nm), wavelengths_nm
    if named:
        named_nm, positions, expected = np.array([nm for nm, _ in named]), [at for _, at in named], len(head)
        check_bands(named_nm, model)
        for note in band_notes(named_nm, wavelengths_nm):
            notify(note)
        # The columns next to the model's bands; others are not read.
        first = max(int(np.searchsorted(named_nm, wavelengths_nm[0], "right")) - 1, 0)
        end = int(np.searchsorted(named_nm, wavelengths_nm[-1])) + 1
        named_nm, positions = named_nm[first:end], positions[first:end]
        lower = [cell.strip().lower() for cell in head]
        id_positions = [lower.index(name) for name in (id_column.lower(), "id") if name in lower]
        id_position = id_positions[0] if id_positions else None
    else:
        rows = chain([head], rows)
    same = same_bands(named_nm, wavelengths_nm)
    for number, row in enumerate(rows, 1):
        if len(row) != expected:
            raise SoilScanError(f"row {number}: expected {expected} cells, received {len(row)}; complete the row")
        identity = row[id_position].strip() if id_position is not None else ""
        scan = numbers_of([row[at] for at in positions])
        if not same:
            with np.errstate(invalid="ignore"):  # infinite values become NaN, and the scan invalid
                # np.interp holds the first and the last value beyond the ends.
                scan = np.interp(wavelengths_nm, named_nm, scan).astype("float32")
        yield identity or f"row{number}", scan


def end_spacings(nm: np.ndarray) -> tuple[float, float]:
    """Spacing of ascending wavelengths at both ends; twice the next spacing at most, for a band far from the others."""
    steps = np.diff(nm)
    if len(steps) < 2:
        return steps[0], steps[0]
    return min(steps[0], 2 * steps[1]), min(steps[-1], 2 * steps[-2])


def check_bands(named_nm: np.ndarray, model: Bands) -> None:
    """Check that the bands of a table, ascending, cover those of the model, as `relple_tf.predict` does.

    Raises:
        SoilScanError: a wavelength occurs twice, an end is missed by more than the tolerance, or there is a gap.
    """
    if (twice := np.flatnonzero(np.diff(named_nm) == 0)).size:
        raise SoilScanError(f"two columns have the wavelength {nm_text(named_nm[twice[0]])} nm; remove either")
    nm = model.wavelengths_nm
    missing = zip((named_nm[0] - nm[0], nm[-1] - named_nm[-1]), nm[[0, -1]], model.end_tolerance_nm, strict=True)
    missed = " and ".join(
        f"{nm_text(end)} nm by {nm_text(distance)} nm, more than {nm_text(tolerance)} nm"
        for distance, end, tolerance in missing
        if distance > tolerance + SAME_NM
    )
    if missed:
        raise SoilScanError(
            f"bands {nm_text(named_nm[0])}..{nm_text(named_nm[-1])} nm do not cover the model's "
            f"{nm_text(nm[0])}..{nm_text(nm[-1])} nm: they miss {missed}; scan that range"
        )
    after = np.clip(np.searchsorted(named_nm, nm), 1, max(len(named_nm) - 1, 1))
    distance = np.minimum(np.abs(nm - named_nm[after - 1]), np.abs(nm - named_nm[np.minimum(after, len(named_nm) - 1)]))
    inside = (nm >= named_nm[0]) & (nm <= named_nm[-1])
    if (gaps := np.flatnonzero(inside & (distance > model.gap_nm + SAME_NM))).size:
        first = gaps[0]
        raise SoilScanError(
            f"no band within {model.gap_nm[first]:.3g} nm of {nm_text(nm[first])} nm, which the model reads "
            f"({gaps.size} such wavelengths): complete the scans"
        )


def band_notes(named_nm: np.ndarray, wavelengths_nm: np.ndarray) -> list[str]:
    """Notes on end values that are held and on interpolation, as `relple_tf.predict` prints them."""
    if same_bands(named_nm, wavelengths_nm):
        return []
    first_nm, last_nm = wavelengths_nm[[0, -1]]
    notes = []
    if (low_nm := named_nm[0] - first_nm) > 1e-6:
        notes.append(
            f"the bands start {low_nm:.3g} nm above {nm_text(first_nm)} nm, the first wavelength of the model: their "
            "first value is held"
        )
    if (high_nm := last_nm - named_nm[-1]) > 1e-6:
        notes.append(
            f"the bands stop {high_nm:.3g} nm below {nm_text(last_nm)} nm, the last wavelength of the model: their "
            "last value is held"
        )
    return [*notes, f"interpolated from {len(named_nm)} bands to the model's {len(wavelengths_nm)}"]


def same_bands(named_nm: np.ndarray, wavelengths_nm: np.ndarray) -> bool:
    """Whether two lists of wavelengths are equal except for rounding of float64."""
    return len(named_nm) == len(wavelengths_nm) and bool(np.abs(named_nm - wavelengths_nm).max() <= 1e-6)


def nm_text(wavelength_nm: float) -> str:
    """A wavelength with up to 4 decimals, so that values that differ by more than SAME_NM never look equal."""
    return f"{wavelength_nm:.4f}".rstrip("0").rstrip(".")


def band_nm(name: str) -> float | None:
    """The wavelength in a column name: `1100`, `X1100`, `1100.5nm`, `spc.400`, `band740`; None for other names."""
    match = re.fullmatch(r"(?:x|nm|band|spc\.?)?(\d+(?:[.,]\d+)?)(?:\s*nm)?", name.strip().lower())
    return float(match[1].replace(",", ".")) if match else None


def numbers_of(cells: list[str]) -> np.ndarray:
    """The numbers in cells (n,); NaN for a cell that is not a number."""
    try:
        numbers = list(map(float, cells))  # three times as fast as number_of; works for most tables
    except ValueError:
        numbers = [number_of(cell) for cell in cells]
    with np.errstate(over="ignore"):  # values above the range of float32 become infinite, and the scan invalid
        return np.array(numbers, "float32")


def number_of(cell: str) -> float:
    """The number in a cell; NaN if it is not a number."""
    try:
        return float(cell.strip().replace(",", "."))
    except ValueError:
        return math.nan


def head_line(targets: dict[str, dict[str, Any]], needs: Sequence[str] = ()) -> str:
    """The header of the lines of `line_of`; `needs` are the targets that have a decision."""
    return padded(targets, ["id", *targets, *decision_names(needs), "status", ""], needs)


def line_of(
    targets: dict[str, dict[str, Any]], identity: str, estimate: Estimate, decisions: dict[str, str] | None = None
) -> str:
    """A result as a line of the table: a value with its interval for each target, decisions, then the status."""
    decisions = decisions or {}
    cells = []
    for name in targets:
        if estimate.values is None or estimate.intervals is None:
            cells.append("-")
            continue
        ends = estimate.intervals[name]
        cells.append(f"{estimate.values[name]:.4g}" + (f" ({ends[0]:.4g} to {ends[1]:.4g})" if ends else ""))
    cells = [as_text(identity), *cells, *decisions.values(), estimate.status, estimate.reason]
    return padded(targets, cells, list(decisions))


def decision_names(targets: Sequence[str]) -> list[str]:
    """Names of the columns of decisions, as `relple_tf.predict` names them."""
    return [f"{target}_decision" for target in targets]


def padded(targets: dict[str, dict[str, Any]], cells: list[str], needs: Sequence[str] = ()) -> str:
    """Join the cells of a line; each has at least the width in WIDTHS and that of its target's name."""
    kinds = ["value" if facts["interval"] is None else "interval" for facts in targets.values()]
    widths = [max(WIDTHS[kind], len(name)) for kind, name in zip(kinds, targets, strict=True)]
    columns = [WIDTHS["id"], *widths, *map(len, decision_names(needs)), WIDTHS["status"], 0]
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, columns, strict=True)).rstrip()


def as_text(cell: str) -> str:
    """Put an apostrophe before a cell that a spreadsheet would read as a formula; numbers do not change."""
    cell = printable(cell)
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) and math.isnan(number_of(cell)) else cell


def printable(text: str) -> str:
    """Text in one line, without control characters."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def answer(line: str) -> None:
    """Print a line and flush it.

    Raises:
        OSError: the line cannot be written, or the reader closed the pipe.
    """
    try:
        print(line, flush=True)
    except OSError:
        # Otherwise Python would try to flush the rest when it exits, and print an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def notify(note: str) -> None:
    """Print a note on standard error, so that standard output holds results only."""
    print(f"note: {note}", file=sys.stderr, flush=True)


def answer_all(device: SoilScan, table: TextIO, needs: dict[str, float], *, as_json: bool) -> None:
    """Predict from each row of a table and print the result before the next row is read.

    Args:
        device: The open bundle.
        table: The table.
        needs: From `needs_of`; empty prints no decisions.
        as_json: Whether to print a JSON object per line.

    Raises:
        SoilScanError: see `read_scans`.
    """
    head = "" if as_json else head_line(device.targets, list(needs))
    for identity, scan in read_scans(table, device.bands, device.card.get("id_column", ""), notify):
        estimate = device.estimate(scan)
        decisions = device.decisions(estimate, needs)
        if as_json:
            facts = {"id": identity, **estimate.as_dict(), **({"decisions": decisions} if needs else {})}
            answer(json.dumps(facts, allow_nan=False))
            continue
        if head:
            answer(head)
            head = ""
        answer(line_of(device.targets, identity, estimate, decisions))


def opened(scans: str) -> TextIO:
    """Open a table of scans; `-` is standard input.

    Raises:
        SoilScanError: the file cannot be opened.
    """
    is_pipe = scans == "-"
    try:
        # A byte that is not UTF-8 damages its cell only.
        return open(
            sys.stdin.fileno() if is_pipe else scans,
            encoding="utf-8-sig",
            errors="replace",
            newline="",
            closefd=not is_pipe,
        )
    except OSError as error:
        raise SoilScanError(
            f"{scans}: {error.strerror}; expected a CSV table of scans: give its path, or - for standard input"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the arguments, predict, print; exit code 0, 2 for a wrong bundle, table or command, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bundle", metavar="BUNDLE", type=Path)
    parser.add_argument(
        "scans", metavar="SCANS", nargs="?", default="-", help="CSV file; -, the default, is standard input"
    )
    parser.add_argument("--variant", metavar="NAME", help="variant of the bundle; default: that of card.json")
    parser.add_argument(
        "--need",
        metavar="TARGET=WIDTH,...",
        help="largest half width of the interval that you accept, in the unit of the target, such as OC_g_kg=3,pH=0.3; "
        "adds keep, or send the soil to the laboratory",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON object per line instead of a table")
    parser.add_argument(
        "--golden", action="store_true", help="run the golden scans; without --variant, on every variant"
    )
    options = parser.parse_args(arguments)
    if options.golden and (options.json or options.scans != "-" or options.need is not None):
        parser.error(
            "--golden reads the scans of the bundle and prints a line per variant; omit SCANS, --json and --need"
        )
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # ids may have characters that the terminal's encoding lacks
    try:
        device = SoilScan(options.bundle, options.variant)
        if options.golden:
            for name in [options.variant] if options.variant else device.card["variants"]:
                answer(repeat_golden(SoilScan(options.bundle, name)))
            return 0
        needs = {} if options.need is None else needs_of(options.need, device.targets)
        with opened(options.scans) as table:
            answer_all(device, table, needs, as_json=options.json)
    except BrokenPipeError:
        return 0  # the reader closed the pipe, as `| head` does
    except KeyboardInterrupt:
        return 130
    except (SoilScanError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
