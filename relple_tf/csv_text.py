"""Tables as CSV that a spreadsheet opens without running formulas. Imports nothing slow."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")


def escape_formula(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run as a formula.

    Such a text begins with `=`, `+`, `-`, `@`, tab or CR and is not a plain number. If it has leading apostrophes
    already, it gets one more, so different texts stay different.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def csv_text(frame: "pd.DataFrame", float_format: str | None = None, *, header: bool = True) -> str:
    """Write a table as CSV, without its index; texts and column names pass through `escape_formula`.

    Args:
        frame: Columns of numbers or texts; the column names are texts.
        float_format: As for `pandas.DataFrame.to_csv`, which writes the numbers.
        header: Whether the column names are written.
    """
    safe = frame.rename(columns=escape_formula)
    for name in safe.columns:
        if safe[name].dtype.kind not in "biuf":
            safe[name] = safe[name].map(lambda cell: escape_formula(cell) if isinstance(cell, str) else cell)
    text: str = safe.to_csv(index=False, float_format=float_format, header=header)
    return text
