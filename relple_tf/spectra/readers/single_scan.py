"""Read the quantities of a single scan, one column each: absorbance, reflectance, or sample and reference signal."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from relple_tf.errors import InputError
from relple_tf.spectra.readers.table_file import ScanTable, quoted

_QUANTITIES = {
    "absorbance": r"absorbance|abs|log(?:10)? ?\(?1/r\)?",
    "reflectance": r"reflectance|refl|reflectivity",
    "reference": r"(?:white )?reference(?: signal| intensity)?|white",
    "sample": r"sample(?: signal| intensity)?|target",
    "dark": r"dark(?: signal| intensity)?",
    "unknown": r"values?|spectrum|signal|y|data",
    "raw": r"intensity|counts?|raw|transmittance|transmission|single ?beam|radiance",
}
_BRACKETS = re.compile(r"(?P<name>.*?)[ _]*(?:[(\[](?P<unit>.*)[)\]]|(?P<percent>%|pct|percent))?")


def scan_quantity(name: str) -> tuple[str, float] | None:
    """Quantity of a column of a single scan, and its divisor; None for the name of a sample."""
    text = name.strip().lower().replace("_", " ")
    match = _BRACKETS.fullmatch(text)
    plain = match["name"] if match and not re.fullmatch(_QUANTITIES["absorbance"], text) else text
    percent = match is not None and "%" in (match["unit"] or match["percent"] or "").replace("percent", "%")
    found = (quantity for quantity, pattern in _QUANTITIES.items() if re.fullmatch(pattern, plain))
    quantity = next(found, None)
    return (quantity, 100.0 if percent and quantity == "reflectance" else 1.0) if quantity else None


def single_scan(path: Path, table: ScanTable, names: Sequence[str]) -> ScanTable:
    """The scan of a table whose columns are quantities of it, named by the file.

    Absorbance is read if it exists, else reflectance, else sample / reference, both without dark signal if it exists.

    Args:
        path: Path of the file.
        table: One row of `spectra` for each quantity.
        names: Names of the quantities.

    Raises:
        InputError: there is no reference, or two columns are the same quantity.
    """
    by_quantity: dict[str, tuple[npt.NDArray[np.float32], float, str]] = {}
    for index, name in enumerate(names):
        quantity, scale = scan_quantity(name) or ("", 1.0)
        if quantity in by_quantity and quantity != "raw":
            raise InputError(
                f"{path}: columns {quoted(by_quantity[quantity][2])} and {quoted(name)} are the same quantity of one "
                "scan; keep one, or name the columns by their samples"
            )
        by_quantity[quantity] = table.spectra[index], scale, name
    if [name.lower() for name in names] == ["sample"]:
        by_quantity["unknown"] = by_quantity.pop("sample")
    texts = {"id": [_stem(path)], **{name: cells[:1] for name, cells in table.texts.items()}}
    for quantity in ("absorbance", "reflectance", "unknown"):
        if quantity in by_quantity:
            values, scale, name = by_quantity[quantity]
            note = f"each row is a band of one scan: column {name} was read"
            stated = "" if quantity == "unknown" else quantity
            break
    else:
        if not {"sample", "reference"} <= set(by_quantity):
            raise InputError(
                f"{path}: the column {quoted(names[0])} is a signal without reference, or a transmittance; export "
                "reflectance or absorbance"
            )
        dark = by_quantity["dark"][0] if "dark" in by_quantity else np.float32(0)
        sample, reference = by_quantity["sample"][0] - dark, by_quantity["reference"][0] - dark
        values = np.divide(sample, reference, out=np.full_like(sample, np.nan), where=reference != 0)
        scale, stated = 1.0, "reflectance"
        note = "each row is a band of one scan: reflectance is the sample signal divided by the reference signal"
    return replace(
        table, texts=texts, spectra=values[None] / np.float32(scale), quantity=stated, notes=(*table.notes, note)
    )


def _stem(path: Path) -> str:
    """Name of a single scan: the file name without `.csv`, `.txt`, `.gz`."""
    name = path.name.removesuffix(".gz")
    return name.rsplit(".", 1)[0] or name
