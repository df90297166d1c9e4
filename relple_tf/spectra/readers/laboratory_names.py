"""Names of laboratory columns: the property and the unit of a column."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

TARGETS = ("N_g_kg", "OC_g_kg", "CaCO3_g_kg", "CEC_cmolc_kg", "pH", "clay_pct")
"""The known targets, in the order of the model outputs."""


@dataclass(frozen=True)
class Meaning:
    """Target of a column, and its unit conversion: target value = cell value * times / over."""

    target: str
    times: int = 1
    over: int = 1


def _meanings() -> dict[str, Meaning]:
    """Normalised column name -> meaning."""
    elements = dict.fromkeys(("n", "tn", "nt", "ntot", "n_tot"), "N") | {"ic": "IC"}
    elements |= dict.fromkeys(("oc", "soc", "toc", "corg", "c_org"), "OC")
    elements |= dict.fromkeys(("tc", "ctot", "c_tot"), "TC")
    meanings = {}
    for name, element in (elements | {"caco3": "CaCO3"}).items():
        meanings[f"{name}_g_kg"] = Meaning(f"{element}_g_kg")
        meanings[f"{name}_pct"] = Meaning(f"{element}_g_kg", times=10)
    for name in ("clay", "silt", "sand"):
        meanings |= {f"{name}_pct": Meaning(f"{name}_pct"), f"{name}_g_kg": Meaning(f"{name}_pct", over=10)}
    meanings |= dict.fromkeys(("cec_cmolc_kg", "cec_cmol_kg", "cec_meq_100g"), Meaning("CEC_cmolc_kg"))
    meanings |= dict.fromkeys(("cec_mmolc_kg", "cec_mmol_kg"), Meaning("CEC_cmolc_kg", over=10))
    meanings |= dict.fromkeys(("ph", "ph_h2o", "ph_in_h2o"), Meaning("pH"))
    meanings |= dict.fromkeys(("ph_cacl2", "ph_in_cacl2"), Meaning("pH_CaCl2"))
    return meanings


_MEANINGS = _meanings()
_LUCAS_UNITS = {"n": "g_kg", "oc": "g_kg", "caco3": "g_kg", "cec": "cmolc_kg"}
_LUCAS_UNITS |= dict.fromkeys(("clay", "silt", "sand"), "pct")
"""LUCAS topsoil tables contain no units; these are the units in the JRC reports (2009 and 2015)."""
_LUCAS_PH = {"ph_h2o", "ph_in_h2o", "ph_cacl2", "ph_in_cacl2"}
_LUCAS_COLUMN = re.compile(
    r"point_?id|nuts_?[0-3]|(?:gps|th)_(?:lat|long)|(?:lc|lu)[01](?:_desc)?|spc_\d+(?:_\d+)?",
)
"""Other columns of LUCAS topsoil tables: point, region, position, land cover and use, and the bands
`spc.400` ... of the file of LUCAS 2009."""
_UNITLESS = {name.removesuffix("_pct") for name in _MEANINGS if name.endswith("_pct")} | {"cec"}
_OSSL = re.compile(
    r"(n_tot|c_tot|oc|caco3|cec|clay_tot|silt_tot|sand_tot|ph_h2o|ph_cacl2)_(?:usda|iso)_[a-z]?\d+"
    r"_(w_pct|cmolc_kg|index)"
)
_OSSL_NAMES = {"n_tot": "n", "c_tot": "tc", "clay_tot": "clay", "silt_tot": "silt", "sand_tot": "sand"}
_OSSL_UNITS = {"w_pct": "_pct", "cmolc_kg": "_cmolc_kg", "index": ""}


def meaning(column: str, *, lucas: bool = False) -> Meaning | None:
    """Target and unit conversion of a column, by its name; None if the name is not known.

    Args:
        column: Column name as written; case and punctuation are ignored (`OC (g/kg)` is `OC_g_kg`).
        lucas: Read names without a unit in the units of LUCAS topsoil tables.
    """
    name = _normalised(column)
    if ossl := _OSSL.fullmatch(name):
        name = _OSSL_NAMES.get(ossl[1], ossl[1]) + _OSSL_UNITS[ossl[2]]
    elif lucas and name in _LUCAS_UNITS:
        name = f"{name}_{_LUCAS_UNITS[name]}"
    return _MEANINGS.get(name)


def has_lucas_names(columns: Sequence[str]) -> bool:
    """Whether the laboratory columns are named as in LUCAS: OC, N and CaCO3 without unit, and pH with its medium."""
    names = {_normalised(column) for column in columns}
    return bool(names & _LUCAS_PH) and {"oc", "n", "caco3"} <= names


def looks_like_lucas(columns: Sequence[str]) -> bool:
    """Whether the table is a LUCAS topsoil table.

    It is if its laboratory columns have the names of LUCAS, and another column is one of LUCAS (`POINTID`, `NUTS_0`,
    `GPS_LAT`, `TH_LAT`, `LC1`, bands `spc.400`). The names of laboratory columns alone prove nothing: many tables in
    percent have them.

    Args:
        columns: Names of all columns, bands included.
    """
    return has_lucas_names(columns) and any(_LUCAS_COLUMN.fullmatch(_normalised(column)) for column in columns)


def lacks_unit(column: str, *, lucas: bool = False) -> bool:
    """Whether the column is a known property without its unit."""
    return _normalised(column) in _UNITLESS and meaning(column, lucas=lucas) is None


def needs_unit(name: str) -> str:
    """Message for a column without unit."""
    normalised = _normalised(name)
    units = ("cmolc_kg", "mmolc_kg") if normalised == "cec" else ("g_kg", "pct")
    return f"{name} has no unit; rename the column {name}_{units[0]} or {name}_{units[1]}"


def _normalised(column: str) -> str:
    lower = column.lower().replace("%", " pct ").replace("(+)", "")
    return re.sub(r"[^a-z0-9]+", "_", lower).strip("_")
