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
a header, each row holds the values of one scan on the model's own wavelengths.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
        self.card: dict[str, Any] = json.loads(self._checked("card.json"))
        if self.card.get("format") != FORMAT:
            raise SoilScanError(
                f"{self.folder}: card.json has format {self.card.get('format')}, this soil_scan.py reads {FORMAT}; "
                "use the one of the bundle"
            )
        variants = self.card["variants"]
        self.variant: str = self.card["default_variant"] if variant is None else variant
        if self.variant not in variants:
            raise SoilScanError(f"{self.folder}: no variant {self.variant}; there are {', '.join(variants)}")
        self.quantity: str = self.card["input"]["quantity"]
        self.wavelengths_nm = np.array(self.card["input"]["wavelengths_nm"])
        self.targets: dict[str, dict[str, Any]] = self.card["targets"]
        self.network = Model(self._checked(variants[self.variant]["file"]))
        self.front_end = None
        if variants[self.variant]["reads"] != "scan":
            self.front_end = Model(self._checked(self.card["front_end"]["file"]))

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
        intervals = {
            name: interval(facts["interval"], values[name], math.sqrt(t2 / limits["T2"]))
            for name, facts in self.targets.items()
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

    def _checked(self, name: str) -> bytes:
        """The content of a file of the bundle.

        Raises:
            SoilScanError: it is missing, not listed or changed.
        """
        try:
            content = (self.folder / name).read_bytes()
        except OSError as error:
            raise SoilScanError(f"{self.folder / name}: {error.strerror}; copy the bundle again") from None
        if hashlib.sha256(content).hexdigest() != self._sums.get(name):
            raise SoilScanError(f"{self.folder / name}: SHA-256 is not that of SHA256SUMS; copy the bundle again")
        return content


class Model:
    """A .tflite with one input, run on real numbers whatever it stores.

    Args:
        content: Of the file; check it first, for runtimes crash on damaged ones.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=content)
        self._interpreter.allocate_tensors()
        runner = self._interpreter.get_signature_runner()
        (self.input,) = runner.get_input_details().values()
        self.outputs = runner.get_output_details()

    def run(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Output name -> float32 array."""
        outputs = self.run_stored(quantise(values.reshape(self.input["shape"]), self.input))
        return {name: dequantise(value, self.outputs[name]) for name, value in outputs.items()}

    def run_stored(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """The same with numbers as the file stores them, from a fresh state: a recurrent operator else remembers."""
        self._interpreter.reset_all_variables()
        self._interpreter.set_tensor(self.input["index"], values)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(details["index"]) for name, details in self.outputs.items()}


def repeat_golden(device: SoilScan) -> str:
    """How an opened variant repeats golden.json on this machine, in one line.

    Raises:
        SoilScanError: a scan has another status than recorded, or a value is further than is promised from Keras's (of
            a scan that is outside: from what was recorded).
    """
    facts = json.loads(device._checked("golden.json"))
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
    centre = math.sqrt(value) if facts["root"] else value
    reach = facts["half_width"] * (1 + facts["growth"] * difficulty)
    ends = [from_modelled(facts, centre - reach), from_modelled(facts, centre + reach)]
    return ends[0], ends[1]


def from_modelled(facts: dict[str, Any], value: float) -> float:
    """An end of an interval in laboratory units."""
    value = max(value, 0.0) ** 2 if facts["root"] else value
    return max(value, 0.0) if facts["non_negative"] else value


def invalid(reason: str) -> Estimate:
    """The estimate of what is no scan of a soil."""
    return Estimate("invalid", reason, None, None, None, None)


def checksums(folder: Path, sums: str = "SHA256SUMS") -> dict[str, str]:
    """File name -> SHA-256 of a bundle.

    Raises:
        SoilScanError: the folder is no bundle.
    """
    try:
        text = (folder / sums).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SoilScanError(f"{folder / sums}: {error.strerror}; give the folder of a bundle") from None
    return {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}


def read_scans(file: TextIO, wavelengths_nm: np.ndarray, id_column: str = "id") -> Iterator[tuple[str, np.ndarray]]:
    """Id and scan (bands,) of each row of a CSV; a cell that is no number is NaN.

    Raises:
        SoilScanError: the table is empty or does not hold the model's bands.
    """
    text = file.read().lstrip("\ufeff")
    separator = max(";\t,", key=text.partition("\n")[0].count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if any(cell.strip() for cell in row)]
    if not rows:
        raise SoilScanError("the table is empty; give one scan per row")
    names = [band_nm(cell) for cell in rows[0]]
    bands = [(nm, position) for position, nm in enumerate(names) if nm is not None and nm >= SHORTEST_NM]
    if not bands:
        positions: Sequence[int] = range(len(wavelengths_nm))
        id_position, first = None, 0
    else:
        positions = positions_of(wavelengths_nm, bands)
        lower = [cell.strip().lower() for cell in rows[0]]
        known = [lower.index(name) for name in (id_column.lower(), "id") if name in lower]
        id_position, first = (known[0] if known else None), 1
    for number, row in enumerate(rows[first:], 1):
        if len(row) != (len(rows[0]) if bands else len(wavelengths_nm)):
            expected = len(rows[0]) if bands else len(wavelengths_nm)
            raise SoilScanError(f"row {number} has {len(row)} cells, not {expected}; one scan per row, no cell missing")
        identity = row[id_position].strip() if id_position is not None else ""
        yield identity or f"row{number}", np.array([number_of(row[at]) for at in positions], "float32")


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


def number_of(cell: str) -> float:
    """A cell's number; NaN where it holds none."""
    try:
        return float(cell.strip().replace(",", "."))
    except ValueError:
        return math.nan


def table(targets: dict[str, dict[str, Any]], rows: list[tuple[str, Estimate]]) -> str:
    """Estimates for people to read: one line per scan, a value with its interval per target."""
    lines = [["id", *targets, "status", ""]]
    for identity, found in rows:
        cells = []
        for name in targets:
            if found.values is None or found.intervals is None:
                cells.append("-")
                continue
            ends = found.intervals[name]
            cells.append(f"{found.values[name]:.4g}" + (f" ({ends[0]:.4g} to {ends[1]:.4g})" if ends else ""))
        lines.append([identity, *cells, found.status, found.reason])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths)) for line in lines)  # noqa: B905
    return "\n".join(line.rstrip() for line in padded) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, estimate, print; 0, or 2 where bundle, table or command are wrong."""
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
    try:
        device = SoilScan(options.bundle, options.variant)
        if options.golden:
            for name in [options.variant] if options.variant else device.card["variants"]:
                print(repeat_golden(SoilScan(options.bundle, name)))
            return 0
        id_column = device.card.get("id_column", "")
        if options.scans == "-":
            scans = list(read_scans(sys.stdin, device.wavelengths_nm, id_column))
        else:
            with open(options.scans, encoding="utf-8", newline="") as file:  # noqa: PTH123
                scans = list(read_scans(file, device.wavelengths_nm, id_column))
        rows = [(identity, device.estimate(scan)) for identity, scan in scans]
    except (SoilScanError, OSError, UnicodeDecodeError, csv.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        for identity, found in rows:
            print(json.dumps({"id": identity, **found.as_dict()}, allow_nan=False))
    else:
        sys.stdout.write(table(device.targets, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
