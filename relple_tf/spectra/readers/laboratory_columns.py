"""Laboratory columns of a table: their values, and the choice of targets."""

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
from relple_tf.spectra.readers.laboratory_cells import count_codes, has_numbers, near_zero, read_numbers
from relple_tf.spectra.readers.laboratory_merge import merge_columns
from relple_tf.spectra.readers.laboratory_names import (
    TARGETS,
    has_lucas_names,
    lacks_unit,
    looks_like_lucas,
    meaning,
    needs_unit,
)

RESERVED = re.compile(r"id|sample|scan|part|status|t2|q|spectrum|features", re.IGNORECASE)
"""Names used for inputs and outputs of a model and for columns of its tables."""

Values = npt.NDArray[np.float64]


class NoLaboratoryValuesError(InputError):
    """The source has scans, but no column of a known target."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LaboratoryTable:
    """Laboratory values of a table."""

    targets: dict[str, Values]
    """Target -> (n,) values in its unit, NaN where not measured."""
    columns: dict[str, Values]
    """The other columns of numbers, which the checks use: (n,) values, NaN where not measured. A known property has
    the name and the unit of its target (`TC_g_kg`, `sand_pct`), any other its name in the table."""
    notes: tuple[str, ...]
    """Conversions and columns that were left out, one sentence each."""
    warnings: tuple[str, ...]
    """Columns that disagree or have no unit, one sentence each."""


NO_VALUES = LaboratoryTable(targets={}, columns={}, notes=(), warnings=())
"""For a source without laboratory values."""


def read_targets(
    source: str,
    texts: Mapping[str, Sequence[str]],
    ids: npt.NDArray[np.str_],
    data: DataConfig,
    header: Sequence[str] = (),
) -> LaboratoryTable:
    """Read the laboratory values of the targets in `data.targets`, or of every known target.

    Columns of one property in one unit are merged row by row: the first measured value in the order of the columns.
    Columns in different units are not merged, because a wrong unit in one of the names would mix values that differ
    tenfold; the unit with more values is used, and rows that disagree are warned of.

    Args:
        source: Name of the table, for messages.
        texts: Column name -> n cells.
        ids: (n,), for messages.
        data: `targets` and `below_detection` are read; no targets select every known target. `id_column` and
            `group_column` are excluded from the note on other columns.
        header: Names of all columns, bands included, by which a LUCAS table is recognised; empty uses those of `texts`.

    Raises:
        NoLaboratoryValuesError: `data.targets` is empty, and no column holds a known target.
        InputError: a target has no column, a column has no unit, or a cell is not a number.
    """
    lucas = looks_like_lucas([*texts, *header])
    known = _columns(list(texts), lucas)
    unitless = [name for name in texts if lacks_unit(name, lucas=lucas)]
    if data.targets:
        wanted = _requested(source, data.targets, known, list(texts), lucas)
    else:
        if not lucas and has_lucas_names(list(texts)):
            raise InputError(
                f"{source}: {'; '.join(map(needs_unit, unitless))}; columns without a unit are read in the units of "
                "LUCAS (g/kg) only in a table with another column of LUCAS, such as POINTID, NUTS_0, GPS_LAT or spc.400"
            )
        wanted = {target: known[target] for target in TARGETS if target in known}
    if not wanted:
        unit = f"; {needs_unit(unitless[0])}" if unitless else ""
        raise NoLaboratoryValuesError(
            f"{source}: no laboratory values; known targets are {', '.join(TARGETS)}, and "
            "data.targets may name any other column; the columns apart from the bands are "
            f"{name_some(list(texts))}{unit}"
        )
    targets, notes, warnings = {}, [], []
    for target, candidates in wanted.items():
        read = {name: read_numbers(source, name, texts[name], ids, data.below_detection) for name in candidates}
        below = sum(count for _, count in read.values())
        merged = merge_columns(target, {name: values for name, (values, _) in read.items()}, ids, lucas)
        negative = near_zero(target, merged.values)
        below += int(negative.sum())
        targets[target] = np.where(negative, 0.0 if data.below_detection == "half" else np.nan, merged.values)
        if codes := sum(count_codes(texts[name]) for name in candidates):
            notes.append(f"{target}: {codes} cells with the code -9999 count as not measured")
        notes += [*merged.notes, *_below_notes(target, below, int(negative.sum()), data.below_detection)]
        warnings += merged.warnings
    if unitless and not data.targets:
        warnings.append("left out: " + "; ".join(map(needs_unit, unitless)))
    explained = {
        data.id_column,
        data.group_column,
        *unitless,
        *(name for target in TARGETS for name in known.get(target, ())),
    }
    others = [name for name in texts if name not in explained and not names_role(name) and has_numbers(texts[name])]
    if others and not data.targets:
        notes.append(f"not modelled unless data.targets names them: {name_some(others, 8)}")
    if lucas:
        notes.append(
            "columns without a unit were read in the units of LUCAS topsoil tables: "
            "N, OC, CaCO3 in g/kg, CEC in cmol(+)/kg, clay in %"
        )
    used = {name for candidates in wanted.values() for name in candidates}
    columns = _other_columns(source, texts, ids, known, {*wanted, *used, data.id_column, data.group_column}, lucas)
    return LaboratoryTable(targets=targets, columns=columns, notes=tuple(notes), warnings=tuple(warnings))


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
    """Target -> its candidate columns; a requested column selects only this column, unless it has a target's name."""
    wanted: dict[str, list[str]] = {}
    for name in requested:
        known = meaning(name, lucas=lucas)
        if lacks_unit(name, lucas=lucas):
            raise InputError(f"{source}: {needs_unit(name)}")
        target = known.target if known else name
        if target in wanted:
            raise InputError(f"{source}: data.targets names {target} twice; name it once")
        # `OC_g_kg` names the property, as where no target is requested; `OC_pct` names a column.
        is_property = known is not None and name == target
        wanted[target] = [name] if name in names and not is_property else columns.get(target, [])
        if not wanted[target]:
            raise InputError(
                f"{source}: no column for target {name!r}; known targets are {', '.join(TARGETS)}; "
                f"the columns apart from the bands are {name_some(names)}"
            )
    return wanted


def _other_columns(
    source: str,
    texts: Mapping[str, Sequence[str]],
    ids: npt.NDArray[np.str_],
    known: Mapping[str, list[str]],
    excluded: set[str],
    lucas: bool,
) -> dict[str, Values]:
    """Values of the columns of numbers that are not targets, in the unit of the target where the property is known."""
    names = [name for name in texts if name not in excluded and not names_role(name) and has_numbers(texts[name])]
    values = {name: read_numbers(source, name, texts[name], ids)[0] for name in names}
    columns = {}
    for target, candidates in known.items():
        read = {name: values.pop(name) for name in candidates if name in values}
        if read and target not in excluded:
            columns[target] = merge_columns(target, read, ids, lucas).values
    return columns | values


def _below_notes(target: str, below: int, negative: int, treatment: str) -> list[str]:
    """The line on `below` values below the limit of detection, `negative` of them negative results near zero."""
    if not below:
        return []
    counted = f"{target}: {below} values below the limit of detection"
    if negative:
        counted += f", {'all' if negative == below else negative} of them negative,"
    if treatment == "half":
        return [f"{counted} were read as half of the limit" + (" (0 for the negative ones)" if negative else "")]
    return [
        f"{counted} count as not measured; this removes the soils with the "
        "lowest contents, such as those without carbonate; --set data.below_detection=half takes half of the limit"
        + (" (0 for the negative ones)" if negative else "")
    ]


def _unusable(values: npt.NDArray[np.float64], data: DataConfig) -> str:
    """Reason why a target cannot be modelled; empty if it can."""
    measured = values[np.isfinite(values)]
    if len(measured) < data.minimum_values:
        return f"has {len(measured)} measured values, fewer than data.minimum_values {data.minimum_values}"
    if np.ptp(measured) == 0:
        return f"is {measured[0]:g} in all {len(measured)} rows"
    return ""
