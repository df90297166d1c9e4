"""Read a row of units under or above the header: units of laboratory columns, quantity and unit of the bands."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from relple_tf.errors import InputError
from relple_tf.spectra.readers.band_names import band_name, band_names
from relple_tf.spectra.readers.columns import names_role
from relple_tf.spectra.readers.table_file import quoted

_NONE = {
    "",
    "-",
    "\u2013",
    "\u2014",
    "unit",
    "units",
    "unitless",
    "dimensionless",
    "none",
    "ph",
    "phunit",
    "phunits",
    "index",
}
_SUFFIXES = {
    **dict.fromkeys(("%", "pct", "percent", "wt%", "wt.%", "mass%", "%w/w", "w/w%", "%(w/w)", "g/100g"), "pct"),
    **dict.fromkeys(("g/kg", "gkg", "mg/g", "‰"), "g_kg"),
    **dict.fromkeys(("mg/kg", "mgkg", "ppm"), "mg_kg"),
    **dict.fromkeys(("cmolc/kg", "cmol/kg", "cmol+/kg", "cmolckg", "cmolkg"), "cmolc_kg"),
    **dict.fromkeys(("mmolc/kg", "mmol/kg", "mmol+/kg", "mmolckg", "mmolkg"), "mmolc_kg"),
    **dict.fromkeys(("meq/100g", "me/100g"), "meq_100g"),
}
"""Unit, without spaces -> end of the column name."""
_BAND_UNITS = {
    **dict.fromkeys(("%", "pct", "percent", "%r", "%reflectance"), ("reflectance", 100.0, "{}")),
    **dict.fromkeys(("reflectance", "refl", "r"), ("reflectance", 1.0, "{}")),
    **dict.fromkeys(("absorbance", "abs", "au", "a.u.", "log(1/r)", "log1/r", "log10(1/r)"), ("absorbance", 1.0, "{}")),
    **dict.fromkeys(_NONE, ("", 1.0, "{}")),
    "nm": ("", 1.0, "{}nm"),
    **dict.fromkeys(("cm-1", "1/cm"), ("", 1.0, "wn_{}")),
}
"""Unit of the bands -> quantity, divisor, and form of a name that contains the unit."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """Content of a row of units."""

    header: tuple[str, ...]
    """Column names with units."""
    quantity: str
    """`reflectance`, `absorbance` or empty."""
    scale: float
    """Divisor of the numbers of the bands: 100 for percent."""
    notes: tuple[str, ...]


def read_units(source: str, header: Sequence[str], row: Sequence[str]) -> Units | None:
    """Read the row under (or above) the header; None if it is not a row of units.

    A row of units contains at least one known unit and no number, and all bands have the same unit.

    Args:
        source: Name of the table, for messages.
        header: Column names.
        row: Cells of the row.

    Raises:
        InputError: a column name ends in another unit than the row states.
    """
    units = [_compact(cell) for cell in row[: len(header)]]
    bands = band_names(header)
    of_bands = {units[position] for position in bands if position < len(units)} - {""}
    others = {position: unit for position, unit in enumerate(units) if position not in bands and header[position]}
    if len(of_bands) > 1 or not of_bands <= set(_BAND_UNITS) or any(map(_is_number, others.values())):
        return None
    if not (of_bands - _NONE or _SUFFIXES.keys() & others.values()):
        return None
    quantity, scale, form = _BAND_UNITS[next(iter(of_bands), "")]
    names = list(header)
    for position, band in bands.items():
        if form != "{}" and band.unit == "bare":
            names[position] = form.format(f"{band.number:.10g}")
    renamed = {}
    for position, unit in others.items():
        names[position] = _with_unit(source, header[position], unit, row[position])
        if names[position] != header[position]:
            renamed[header[position]] = names[position]
    notes = ["a row of units was read"]
    if renamed:
        notes.append("units: " + ", ".join(f"{old} is {new}" for old, new in renamed.items()))
    if scale != 1:
        notes.append("the row of units states percent: the spectra were divided by 100")
    return Units(header=tuple(names), quantity=quantity, scale=scale, notes=tuple(notes))


def _with_unit(source: str, name: str, unit: str, cell: str) -> str:
    """The column name with its unit; unchanged for ids, groups, coordinates and columns without a unit."""
    if unit in _NONE or names_role(name):
        return name
    suffix = _SUFFIXES.get(unit) or re.sub(r"[^a-z0-9]+", "_", unit).strip("_")
    lower = re.sub(r"[^a-z0-9]+", "_", name.lower().replace("%", " pct ").replace("(+)", "")).strip("_")
    if not suffix or lower.endswith(f"_{suffix}"):
        return name
    named = [known for known in {*_SUFFIXES.values()} if lower.endswith(f"_{known}")]
    if named and {named[0], suffix} != {"cmol_kg", "cmolc_kg"}:
        raise InputError(
            f"{source}: column {quoted(name)} is named by a unit, but the row of units states "
            f"{quoted(cell.strip())}; correct the name or the unit"
        )
    return f"{name}_{suffix}"


def _compact(cell: str) -> str:
    """A unit in lower case, without spaces and brackets around it: `[g kg-1]` is `g/kg`."""
    text = cell.strip().lower().replace("(+)", "+").replace("⁻¹", "-1").replace("^", "").replace("·", " ")
    text = re.sub(r"^[\[(](.*)[\])]$", r"\1", text)
    text = re.sub(r"[ .]*kg-1$", "/kg", text)
    return text.replace(" ", "")


def _is_number(text: str) -> bool:
    return band_name(text) is not None or text.lstrip("+-").replace(",", "").replace(".", "").isdecimal()
