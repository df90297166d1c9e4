"""Laws of tables as CSV: no cell is a formula, numbers stay numbers, ids match after a round trip."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from relple_tf.atomic_files import write_table
from relple_tf.config import DataConfig
from relple_tf.csv_text import csv_text, escape_formula
from relple_tf.spectra.readers.tables import read_parts, read_table

FORMULAS = [
    '=HYPERLINK("http://x","y")',
    "+1+2",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    "-",
    "+49 123",
    "-1e",
    "--5",
    "'=1+1",
    "''@x",
    "-inf",
    "=1",
]
PLAIN = ["", "soil 1", "1=2", "a-b", "'quoted'", "-12.5", "+3", "-1e-5", "+.5", "-7,25", "1.", "0012", "-3E+2"]


def cells(text):
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe_and_keeps_its_text(text):
    assert escape_formula(text) == f"'{text}"


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_and_plain_numbers_do_not_change(text):
    assert escape_formula(text) == text


def test_different_texts_stay_different():
    texts = {apostrophes + text for apostrophes in ("", "'", "''", "'''") for text in FORMULAS + PLAIN}
    assert len({escape_formula(text) for text in texts}) == len(texts)


def test_texts_and_column_names_are_escaped_and_numbers_are_written_by_pandas():
    numbers = pd.DataFrame({"x": [-1.5, np.nan, -np.inf], "n": [-3, 4, 5], "flag": [True, False, True]})
    frame = numbers.assign(id=["=1+1", "-12.5", None])
    frame.columns = ["=x", "-n", "flag", "@id"]
    header, *rows = cells(csv_text(frame, "%.3g"))
    assert header == ["'=x", "'-n", "flag", "'@id"]
    assert [row[3] for row in rows] == ["'=1+1", "-12.5", ""]
    assert [row[:3] for row in rows] == cells(numbers.to_csv(index=False, header=False, float_format="%.3g"))
    assert list(frame.columns) == ["=x", "-n", "flag", "@id"]
    assert frame["@id"][0] == "=1+1"


def test_categories_and_mixed_columns_are_escaped():
    frame = pd.DataFrame({"kind": pd.Categorical(["=a", "b", "=a"]), "mixed": [-1, "=b", 2.5]})
    assert cells(csv_text(frame)) == [["kind", "mixed"], ["'=a", "-1"], ["b", "'=b"], ["'=a", "2.5"]]


def test_the_chunks_of_a_table_join_to_the_csv_of_the_table():
    frame = pd.DataFrame({"id": [f"={row}" for row in range(5)], "x": np.arange(5) / 7})
    chunks = [csv_text(frame[start : start + 2], header=start == 0) for start in (0, 2, 4)]
    assert "".join(chunks) == csv_text(frame)


def test_the_ids_of_a_written_split_match_those_of_the_table(tmp_path):
    """The split.csv of a run is the `split.file` of another run on the same table."""
    ids = ["=1+1", "-5", "@a", "plain", "'=quoted", "+x", *(f"-soil {row}" for row in range(6))]
    frame = pd.DataFrame({"id": ids, "pH": np.arange(12) / 2 + 3.5})
    for band in range(40):
        frame[f"{1000 + 20 * band}"] = 0.3 * (1 + 0.05 * np.arange(12)) * (1 + 0.01 * band)
    frame.to_csv(tmp_path / "soils.csv", index=False)
    library = read_table(tmp_path / "soils.csv", DataConfig(targets=("pH",), quantity="reflectance", minimum_values=10))
    assert library.ids.tolist() == ids
    parts = ["train", "test", "train", "test", "validation", "train"] * 2
    write_table(tmp_path / "split.csv", pd.DataFrame({"id": library.ids, "part": parts}))
    assert "\n'=1+1,train" in (tmp_path / "split.csv").read_text()
    assert read_parts(tmp_path / "split.csv", library.ids)[0].tolist() == parts
    pd.DataFrame({"id": ids, "part": parts}).to_csv(tmp_path / "by_hand.csv", index=False)
    assert read_parts(tmp_path / "by_hand.csv", library.ids)[0].tolist() == parts
