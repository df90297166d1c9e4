"""Lines and columns of text files that instruments write."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from relple_tf.spectra.readers.instruments.spectrum import damaged
from relple_tf.spectra.readers.table_file import quoted


def decoded(content: bytes) -> str:
    """Text of a file: UTF-8, else Latin-1, the usual encoding of older instruments."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def text_lines(path: Path, form: str) -> list[str]:
    """Lines of a file, without the line ends.

    Raises:
        InputError: the last line is truncated.
    """
    text = decoded(path.read_bytes())
    lines = text.splitlines()
    # A cut number is still a number. So an unfinished line that is shorter than the line before it is refused.
    if len(lines) > 1 and not text.endswith(("\n", "\r")) and len(lines[-1].rstrip()) < len(lines[-2].rstrip()):
        raise damaged(path, form, f"the last line, {quoted(lines[-1])}, is truncated; if it is complete, end it")
    return lines


def number_columns(
    path: Path, form: str, lines: Sequence[str], first_line: int, columns: int = 0
) -> npt.NDArray[np.float64]:
    """Numbers in columns, separated by blanks or tabs.

    Args:
        path: File, for messages.
        form: Name of the format, for messages.
        lines: Lines of the file; blank lines are skipped.
        first_line: Index of the first line with numbers.
        columns: Number of columns; 0 for as many as the first line has.

    Returns:
        (lines, columns), float64.

    Raises:
        InputError: a line has another number of cells, or a cell is not a number.
    """
    rows: list[list[float]] = []
    for number, line in enumerate(lines[first_line:], start=first_line + 1):
        if not (cells := line.split()):
            continue
        columns = columns or len(cells)
        if len(cells) != columns:
            raise damaged(path, form, f"line {number} has {len(cells)} numbers, not {columns}")
        try:
            rows.append([float(cell) for cell in cells])
        except ValueError:
            raise damaged(path, form, f"line {number} is {quoted(line)}, not {columns} numbers") from None
    if not rows:
        raise damaged(path, form, "it has no values")
    return np.array(rows)
