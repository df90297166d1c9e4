"""Laboratory columns: meaning and unit of a column name, its values, and the choice of targets."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from relple_tf.config import DataConfig
from relple_tf.errors import InputError
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.readers.columns import name_some, names_role
from relple_tf.spectra.readers.table_file import cell_name, quoted

TARGETS = ("N_g_kg", "OC_g_kg", "CaCO3_g_kg", "CEC_cmolc_kg", "pH", "clay_pct")
"""The known targets, in the order of the model outputs."""

RESERVED = re.compile(r"id|part|status|t2|q|spectrum|features", re.IGNORECASE)
"""Names used for inputs and outputs of a model and for columns of its tables."""


@dataclass(frozen=True)
class Meaning:
    """Target of a column, and its unit conversion: target value = cell value * times / over."""

    target: str
    times: int = 1
    over: int = 1


class NoLaboratoryValuesError(InputError):
    """The source has scans, but no column of a known target."""


def _meanings() -> dict[str, Meaning]:
    """Normalised column name -> meaning."""
    elements = dict.fromkeys(("n", "tn", "nt", "ntot", "n_tot"), "N") | {"ic": "IC"}
    elements |= dict.fromkeys(("oc", "soc", "toc", "corg", "c_org"), "OC")
    elements |= dict.fromkeys(("tc", "ctot", "c_tot"), "TC")
    meanings = {}
    for name, element in (elements | {"caco3": "CaCO3"}).items():
        meanings[f"{name}_g_kg"] = Meaning(f"{element}_g_kg")
        meanings[f"{name}_pct"] = Meaning(f"{element}_g_kg", times=10)
    meanings |= {"clay_pct": Meaning("clay_pct"), "clay_g_kg": Meaning("clay_pct", over=10)}
    meanings |= dict.fromkeys(("cec_cmolc_kg", "cec_cmol_kg", "cec_meq_100g"), Meaning("CEC_cmolc_kg"))
    meanings |= dict.fromkeys(("cec_mmolc_kg", "cec_mmol_kg"), Meaning("CEC_cmolc_kg", over=10))
    meanings |= dict.fromkeys(("ph", "ph_h2o", "ph_in_h2o"), Meaning("pH"))
    meanings |= dict.fromkeys(("ph_cacl2", "ph_in_cacl2"), Meaning("pH_CaCl2"))
    return meanings


_MEANINGS = _meanings()
_LUCAS_UNITS = {"n": "g_kg", "oc": "g_kg", "caco3": "g_kg", "cec": "cmolc_kg", "clay": "pct"}
"""LUCAS topsoil tables contain no units; these are the units in the JRC reports (2009 and 2015)."""
_LUCAS_PH = {"ph_h2o", "ph_in_h2o", "ph_cacl2", "ph_in_cacl2"}
_UNITLESS = {name.removesuffix("_pct") for name in _MEANINGS if name.endswith("_pct")} | {"cec"}
_OSSL = re.compile(
    r"(n_tot|c_tot|oc|caco3|cec|clay_tot|ph_h2o|ph_cacl2)_(?:usda|iso)_[a-z]?\d+"
    r"_(w_pct|cmolc_kg|index)"
)
_OSSL_NAMES = {"n_tot": "n", "c_tot": "tc", "clay_tot": "clay"}
_OSSL_UNITS = {"w_pct": "_pct", "cmolc_kg": "_cmolc_kg", "index": ""}

_SENTINEL = -9999.0
"""Code for a missing value, in any notation of the number."""
_NO_VALUE = {"", "na", "n/a", "nan", "null", "none"}
_BELOW_LIMIT = re.compile(r"<.*|bdl|lod", re.IGNORECASE)


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


def looks_like_lucas(columns: Sequence[str]) -> bool:
    """Whether the table is a LUCAS topsoil table: it has columns of pH with its medium, OC, N and CaCO3."""
    names = {_normalised(column) for column in columns}
    return bool(names & _LUCAS_PH) and {"oc", "n", "caco3"} <= names


def read_targets(
    source: str, texts: Mapping[str, Sequence[str]], ids: npt.NDArray[np.str_], data: DataConfig
) -> tuple[dict[str, npt.NDArray[np.float64]], list[str]]:
    """Read the laboratory values of the targets in `data.targets`, or of every known target.

    Args:
        source: Name of the table, for messages.
        texts: Column name -> n cells.
        ids: (n,), for messages.
        data: `targets` is read; empty selects every known target. `id_column` and `group_column` are excluded from
            the note on other columns.

    Returns:
        Target -> (n,) values in its unit, NaN where not measured; and notes on conversions.

    Raises:
        NoLaboratoryValuesError: `data.targets` is empty, and no column holds a known target.
        InputError: a target has no column, a column has no unit, or a cell is not a number.
    """
    lucas = looks_like_lucas(list(texts))
    columns = _columns(list(texts), lucas)
    unitless = [name for name in texts if _normalised(name) in _UNITLESS and meaning(name, lucas=lucas) is None]
    if data.targets:
        wanted = _requested(source, data.targets, columns, list(texts), lucas)
    else:
        wanted = {target: columns[target] for target in TARGETS if target in columns}
    if not wanted:
        unit = f"; {_needs_unit(unitless[0])}" if unitless else ""
        raise NoLaboratoryValuesError(
            f"{source}: no laboratory values; known targets are {', '.join(TARGETS)}, and "
            "data.targets may name any other column; the columns apart from the bands are "
            f"{name_some(list(texts))}{unit}"
        )
    targets, notes = {}, []
    for target, candidates in wanted.items():
        numbers = {column: read_numbers(source, column, texts[column], ids) for column in candidates}
        measured = {column: int(np.isfinite(values).sum()) for column, (values, _) in numbers.items()}
        best = target if target in numbers else max(measured, key=measured.__getitem__)
        values, below = numbers[best]
        conversion = meaning(best, lucas=lucas) or Meaning(target)
        targets[target] = values * conversion.times / conversion.over
        rejected = [column for column in candidates if column != best]
        notes += _target_notes(target, best, rejected, conversion, below)
    if unitless and not data.targets:
        notes.append("left out: " + "; ".join(map(_needs_unit, unitless)))
    explained = {
        data.id_column,
        data.group_column,
        *unitless,
        *(name for target in TARGETS for name in columns.get(target, ())),
    }
    others = [name for name in texts if name not in explained and not names_role(name) and _has_numbers(texts[name])]
    if others and not data.targets:
        notes.append(f"not modelled unless data.targets names them: {name_some(others, 8)}")
    if lucas:
        notes.append(
            "columns without a unit were read in the units of LUCAS topsoil tables: "
            "N, OC, CaCO3 in g/kg, CEC in cmol(+)/kg, clay in %"
        )
    return targets, notes


def select_targets(library: SpectralLibrary, data: DataConfig) -> SpectralLibrary:
    """Select the targets to model, in order.

    These are the targets in `data.targets`, else every known target with at least `data.minimum_values` values that
    are not all equal.

    Raises:
        InputError: a target in `data.targets` is unknown, has too few values or is constant, or no target remains.
    """
    notes: tuple[str, ...] = ()
    if not data.targets:
        present = [name for name in TARGETS if name in library.targets]
        reasons = {name: _unusable(library.targets[name], data) for name in present}
        chosen = [name for name, reason in reasons.items() if not reason]
        left_out = [f"{name} {reason}" for name, reason in reasons.items() if reason]
        if not chosen:
            raise InputError(
                f"{library.source}: no target can be modelled: "
                f"{'; '.join(left_out) or 'none is known'}; add rows, or lower data.minimum_values"
            )
        if left_out:
            notes = (f"left out: {'; '.join(left_out)}",)
    else:
        chosen = [_usable_target(library, name, data) for name in data.targets]
        pairs = zip(data.targets, chosen, strict=True)
        notes = tuple(f"{name} is modelled as {target}" for name, target in pairs if name != target)
    for name in chosen:
        if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
            raise InputError(
                f"{library.source}: target {name!r} becomes the name of a model output and of a field in C, so only "
                "letters, digits and _ are allowed; rename the column"
            )
        if RESERVED.fullmatch(name) or name.removesuffix("_low").removesuffix("_high") in {*chosen} - {name}:
            raise InputError(
                f"{library.source}: target {name!r} is a reserved name of model outputs and tables; rename the column"
            )
    for first, second in itertools.combinations(chosen, 2):
        if first.upper() == second.upper():
            raise InputError(f"{library.source}: targets {first!r} and {second!r} differ in case only; rename a column")
    targets = {name: library.targets[name] for name in chosen}
    return replace(library, targets=targets, notes=(*library.notes, *notes))


def _usable_target(library: SpectralLibrary, name: str, data: DataConfig) -> str:
    """The target of the library that `name`, from `data.targets`, stands for."""
    known = meaning(name, lucas=True)
    target = name if name in library.targets or known is None else known.target
    if target not in library.targets:
        available = ", ".join(library.targets) or "none"
        raise InputError(f"{library.source}: no target {name!r} (data.targets); the targets are {available}")
    if reason := _unusable(library.targets[target], data):
        raise InputError(f"{library.source}: {target} {reason}; choose other targets or add rows")
    return target


def _normalised(column: str) -> str:
    lower = column.lower().replace("%", " pct ").replace("(+)", "")
    return re.sub(r"[^a-z0-9]+", "_", lower).strip("_")


def _needs_unit(name: str) -> str:
    units = {"cec": ("cmolc_kg", "mmolc_kg")}.get(_normalised(name), ("g_kg", "pct"))
    return f"{name} has no unit; rename the column {name}_{units[0]} or {name}_{units[1]}"


def _columns(names: Sequence[str], lucas: bool) -> dict[str, list[str]]:
    """Target -> its columns."""
    columns: dict[str, list[str]] = {}
    for name in names:
        if known := meaning(name, lucas=lucas):
            columns.setdefault(known.target, []).append(name)
    return columns


def _requested(
    source: str,
    requested: Sequence[str],
    columns: Mapping[str, list[str]],
    names: Sequence[str],
    lucas: bool,
) -> dict[str, list[str]]:
    """Target -> its candidate columns; a requested name that is a column of the table selects only this column."""
    wanted: dict[str, list[str]] = {}
    for name in requested:
        known = meaning(name, lucas=lucas)
        if known is None and _normalised(name) in _UNITLESS:
            raise InputError(f"{source}: {_needs_unit(name)}")
        target = known.target if known else name
        if target in wanted:
            raise InputError(f"{source}: data.targets names {target} twice; name it once")
        wanted[target] = [name] if name in names else columns.get(target, [])
        if not wanted[target]:
            raise InputError(
                f"{source}: no column for target {name!r}; known targets are {', '.join(TARGETS)}; "
                f"the columns apart from the bands are {name_some(names)}"
            )
    return wanted


def read_numbers(
    source: str, column: str, cells: Sequence[str], ids: npt.NDArray[np.str_]
) -> tuple[npt.NDArray[np.float64], int]:
    """(n,) values, NaN where not measured; and the number of values below the limit of detection.

    Raises:
        InputError: a cell is not a number.
    """
    values, below = np.full(len(cells), np.nan), 0
    for row, cell in enumerate(cells):
        if cell.lower() in _NO_VALUE:
            continue
        if _BELOW_LIMIT.fullmatch(cell):
            below += 1
            continue
        try:
            # Python accepts 1_000 as a number; in a table it is an error.
            values[row] = float(cell.replace("_", "?"))
        except ValueError:
            where = cell_name(source, row + 1, str(ids[row]), column)
            raise InputError(
                f"{where} is {quoted(cell)}, not a number; correct it, or leave the cell empty where nothing was "
                "measured"
            ) from None
    values[values == _SENTINEL] = np.nan
    return values, below


def _target_notes(target: str, column: str, others: Sequence[str], conversion: Meaning, below: int) -> list[str]:
    notes = []
    if column != target:
        times = f" times {conversion.times}" if conversion.times > 1 else ""
        over = f" divided by {conversion.over}" if conversion.over > 1 else ""
        notes.append(f"{target} is column {column}{times}{over}")
    if others:
        notes.append(f"{target}: column {column} was used, {', '.join(others)} left out")
    if below:
        notes.append(f"{target}: {below} values below the limit of detection count as not measured")
    return notes


def _has_numbers(cells: Sequence[str]) -> bool:
    """Whether the column has measured values, and all of them are numbers or below the limit of detection."""
    measured = [cell for cell in cells if cell.lower() not in _NO_VALUE and not _BELOW_LIMIT.fullmatch(cell)]
    try:
        return any(_SENTINEL != number < np.inf for number in map(float, measured))
    except ValueError:
        return False


def _unusable(values: npt.NDArray[np.float64], data: DataConfig) -> str:
    """Reason why a target cannot be modelled; empty if it can."""
    measured = values[np.isfinite(values)]
    if len(measured) < data.minimum_values:
        return f"has {len(measured)} measured values, fewer than data.minimum_values {data.minimum_values}"
    if np.ptp(measured) == 0:
        return f"is {measured[0]:g} in all {len(measured)} rows"
    return ""
