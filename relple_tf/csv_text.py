"""Tables as CSV in which a spreadsheet finds no formula. Imports nothing slow."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?")


def escape_formula(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run as a formula.

    Such a text begins with `=`, `+`, `-`, `@`, tab or CR and is no plain number. A text of that kind that has
    apostrophes already gets one more, so two different texts stay different.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def csv_text(frame: "pd.DataFrame", float_format: str | None = None, *, header: bool = True) -> str:
    """CSV of a table, without its index; texts and column names are `escape_formula`, numbers are as pandas writes them.

    Args:
        frame: Its columns are named by texts and hold numbers or texts.
        float_format: As for `pandas.DataFrame.to_csv`.
        header: Whether the column names are written.
    """
    safe = frame.rename(columns=escape_formula)
    for name in safe.columns:
        if safe[name].dtype.kind not in "biuf":
            safe[name] = safe[name].map(lambda cell: escape_formula(cell) if isinstance(cell, str) else cell)
    text: str = safe.to_csv(index=False, float_format=float_format, header=header)
    return text
