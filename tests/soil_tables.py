"""A valid table of soils, with changed cells or columns, written in every supported file format."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = 24
NM = np.arange(1800.0, 2100.0, 10.0)


def reflectance(nm, rows=ROWS):
    """(rows, bands) reflectance that rises with wavelength and dips at both water bands; rows differ in depth."""
    depth = np.linspace(0.1, 0.3, rows)[:, None]
    dips = np.exp(-(((nm - 1914) / 30) ** 2)) + np.exp(-(((nm - 1414) / 30) ** 2))
    return np.round(0.3 + 1e-4 * (nm - 350) - depth * dips, 5)


def columns(**changed):
    """Column name -> cells of a valid table, with columns replaced, added or (None) removed."""
    table = {"id": [f"s{row}" for row in range(1, ROWS + 1)], "OC_g_kg": ["1.5", ""] * (ROWS // 2)}
    table["OC_g_kg"] = [cell and str(1.5 + row) for row, cell in enumerate(table["OC_g_kg"])]
    table["pH"] = [f"{4 + row / 10:.1f}" for row in range(ROWS)]
    for nm, values in zip(NM, reflectance(NM).T, strict=True):
        table[f"{nm:g}"] = [repr(float(value)) for value in values]
    table |= changed
    return {name: cells for name, cells in table.items() if cells is not None}


def changed_cell(column, row, cell):
    cells = list(columns()[column])
    cells[row] = cell
    return {column: cells}


def write(path: Path, table, delimiter=","):
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    return path


def as_decimal_comma(path):
    table = {name: [cell.replace(".", ",") for cell in cells] for name, cells in columns().items()}
    write(path, table, delimiter=";")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def as_gzip(path):
    write(path, columns())
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + path.read_bytes()))


def as_parquet(path):
    table = {
        name: [float(cell) if cell else None for cell in cells] if name != "id" else cells
        for name, cells in columns().items()
    }
    pd.DataFrame(table).to_parquet(path)


def as_percent(path):
    table = columns()
    bands = {f"{nm:g}": [str(float(cell) * 100) for cell in table[f"{nm:g}"]] for nm in NM}
    write(path, table | bands)


def renamed(rename):
    return {rename(name) if name[0].isdigit() else name: cells for name, cells in columns().items()}


FORMS = {
    "comma.csv": lambda path: write(path, columns()),
    "tab.tsv": lambda path: write(path, columns(), "\t"),
    "decimal_comma.csv": as_decimal_comma,
    "soils.csv.gz": as_gzip,
    "soils.parquet": as_parquet,
    "percent.csv": as_percent,
    "descending.csv": lambda path: write(path, dict(reversed(columns().items()))),
    "wavenumbers.csv": lambda path: write(path, renamed(lambda nm: f"wn_{1e7 / float(nm):.12g}")),
    "blank_rows.csv": lambda path: (
        write(path, columns()),
        path.write_text(path.read_text() + "\n" + "," * (len(columns()) - 1) + "\n"),
    ),
}
