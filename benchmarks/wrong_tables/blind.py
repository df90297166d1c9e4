"""Share of honest mistakes in tables that the reader detects, by a generator written from the list of kinds alone.

    python -m benchmarks.wrong_tables.blind DATA_FOLDER [--seed N] [--count 12] [--kinds 5,6] [--out FILE.csv]

DATA_FOLDER holds the sets of shared/data (nirsoil.csv.gz, ...); LimeSoDa is read from its package. Each of the 18 kinds
makes COUNT tables from sound tables of real soils. It was written from the list of kinds alone: its author had read
neither the checks nor their tests. After the first results only the sound tables were corrected (at least one known
target, eight dark scans of SP.231 removed, unreadable ones left out) and the targets that the user asks for, never a
mistake.

Each sound table is read too; one that is refused, or gets a warning, makes no wrong table and is counted. A message
counts only where the sound table does not get it (numbers in it apart). Outcomes: `refused` (InputError), `dropped`
(every wrong row, by name), `dropped some`, `warned` (a new warning or doubt), `other rows` (the messages name rows that
are right), `left out` (a note: the column is not used), `noted` (another new note only: judge by eye), `linked` (kind
18: a message about replicates, and every sample in one piece), `linked some`, `silent`, `crash` (any other exception: a
defect). A Python warning from the reader is printed with the messages.
"""

import argparse
import csv
import re
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.wrong_tables import blind_laboratory as laboratory
from benchmarks.wrong_tables import blind_scans as scans
from benchmarks.wrong_tables.blind_bases import FIELDS, FILES, MID_INFRARED, load, sound_table, targets_of
from relple_tf.config import DataConfig
from relple_tf.errors import InputError
from relple_tf.spectra.readers.tables import read_table

Mistake = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]

KINDS: dict[int, Mistake] = {
    1: scans.band_numbers,
    2: scans.bare_wavenumbers,
    3: scans.twin_block,
    4: scans.micrometres,
    5: scans.preprocessed,
    6: scans.multiplied_absorbance,
    7: scans.multiplied_reflectance,
    8: scans.mixed_quantities,
    9: scans.reference_scans,
    10: scans.runs_of_zeros,
    11: scans.sentinels_in_bands,
    12: laboratory.sentinels_in_targets,
    13: laboratory.zeros_in_targets,
    14: laboratory.low_ph,
    15: laboratory.impossible_ratios,
    16: laboratory.rows_of_statistics,
    17: laboratory.targets_without_unit,
    18: laboratory.unnamed_replicates,
}
ALL_SETS = (*FILES, *FIELDS)
SETS = {
    2: MID_INFRARED,
    14: ("tavares_brazil", "CV.98", "SA.112", "SC.93", "SSP.460", "UL.120"),
    15: ("nirsoil", "uganda_benchtop", "datsoilspc", "datsoilspc", "tavares_brazil", "SC.93"),
    16: tuple(name for name in ALL_SETS if name != "ossl_neospectra_slice"),
    17: ("nirsoil", "tavares_brazil", "CV.98", "SSP.460", "ossl_neospectra_slice"),
}
"""Sets that can hold a kind; the others can start from every set."""
NEEDED: dict[int, dict[str, tuple[str, ...]]] = {
    14: {"tavares_brazil": ("pH",), "": ("pH",)},
    15: {
        "nirsoil": ("N_g_kg", "OC_pct"),
        "uganda_benchtop": ("N_g_kg", "TC_g_kg"),
        "datsoilspc": ("clay_pct", "silt_pct", "sand_pct"),
    },
    17: {"nirsoil": ("OC_pct",), "ossl_neospectra_slice": ("N_pct",), "": ("OC_pct",)},
}
"""Targets that a kind needs, by set; the empty name stands for all other sets."""
DETECTED = ("refused", "dropped", "warned", "left out", "linked")
PYTHON_WARNINGS: list[str] = []
"""Warnings of Python and its packages while tables were read."""
REPLICATE_WORDS = re.compile(r"replicate|same sample|one sample|scans of|linked", re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    """A wrong table and the sound table from which it was made."""

    kind: int
    sound: pd.DataFrame
    wrong: pd.DataFrame

    @property
    def description(self) -> str:
        """What is wrong, where and how much; set, quantity and shape of the table."""
        rows, columns = self.wrong.shape
        return f"{self.wrong.attrs['description']} [{self.wrong.attrs['set']}, {rows} x {columns}]"


@dataclass
class Outcome:
    """How the reader answered a wrong table."""

    word: str
    messages: list[str] = field(default_factory=list)
    missed: str = ""


@cache
def _whole(name: str, folder: Path) -> pd.DataFrame:
    return load(name, folder)


def make_case(seed: int, kind: int, number: int, folder: Path) -> Case:
    """The wrong table of a kind with this number."""
    rng = np.random.default_rng([seed, kind, number])
    name = str(rng.choice(SETS.get(kind, ALL_SETS)))
    needs = NEEDED.get(kind, {})
    whole = _whole(name, folder)
    if kind == 2:
        sound = whole.iloc[rng.permutation(len(whole))[:200]].reset_index(drop=True)
        sound.attrs = dict(whole.attrs)
    elif kind == 18 and name != "ossl_neospectra_slice":
        # NIRsoil holds real replicate scans under different names: one scan per set of laboratory values.
        distinct = whole.drop_duplicates(targets_of(whole)).reset_index(drop=True)
        distinct.attrs = dict(whole.attrs)
        sound = sound_table(distinct, rng, keep_all=bool(rng.random() < 0.5))
    else:
        sound = sound_table(whole, rng, needs.get(name, needs.get("", ())))
    return Case(kind, sound, KINDS[kind](sound, rng))


def tables(seed: int, folder: Path, count: int = 12) -> Iterator[tuple[int, str, pd.DataFrame]]:
    """Kind, description and wrong table, `count` of each kind."""
    for kind in KINDS:
        for number in range(count):
            case = make_case(seed, kind, number, folder)
            yield kind, case.description, case.wrong


def read(table: pd.DataFrame, targets: tuple[str, ...] = ()) -> Any:
    """The library of a table written to a CSV, or the exception of the reader; adds to `PYTHON_WARNINGS`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        table.to_csv(path, index=False)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                answer: Any = read_table(path, DataConfig(minimum_values=10, targets=targets))
            except InputError as error:
                answer = InputError(str(error).replace(f"{path}: ", ""))
            except Exception as error:
                error.add_note("".join(traceback.format_exception(error)))
                answer = error
    PYTHON_WARNINGS.extend(f"{each.filename}:{each.lineno}: {each.message}" for each in caught)
    return answer


def warnings_of(library: Any) -> list[str]:
    """Warnings and doubts of a library, without the path of the file."""
    return [re.sub(r"\S*table\.csv: ", "", str(message)) for message in (*library.warnings, *(library.doubts or ()))]


def _shape(message: str) -> str:
    return re.sub(r"\d+(\.\d+)?(e-?\d+)?", "#", message)


def _rows_in(messages: list[str]) -> set[int]:
    """Positions of the rows that messages name by number."""
    return {int(number) - 1 for message in messages for number in re.findall(r"\brow (\d+)", message)}


def judged(case: Case, sound: Any, wrong: Any) -> Outcome:
    """Outcome of a wrong table, given the answer to its sound table."""
    rows = set(case.wrong.attrs["rows"])
    if isinstance(wrong, InputError):
        named = _rows_in([str(wrong)])
        return Outcome("refused", [str(wrong)], "names right rows only" if rows and named and not named & rows else "")
    if isinstance(wrong, Exception):
        return Outcome("crash", ["".join(wrong.__notes__)])
    known = set() if isinstance(sound, Exception) else {_shape(m) for m in [*warnings_of(sound), *sound.notes]}
    new = [message for message in warnings_of(wrong) if _shape(message) not in known]
    notes = [str(message) for message in wrong.notes if _shape(str(message)) not in known]
    if case.kind == 18:
        return _replicates(case, wrong, [*warnings_of(wrong), *wrong.notes])
    drops = [f"dropped {row[0]}: {row[-1].split('table.csv: ')[-1]}" for row in wrong.dropped]
    named = _rows_in(drops + new)
    if rows and named and not named & rows:
        return Outcome("other rows", drops + new)
    if drops:
        right = len(_rows_in(drops) - rows)
        text = f"{len(rows - named)} of {len(rows)} wrong rows not named, {right} right rows dropped"
        complete = rows <= named
        return Outcome(
            "dropped" if complete else "dropped some", drops + new + notes, "" if complete and not right else text
        )
    if new:
        return Outcome("warned", new + notes)
    if not notes:
        return Outcome("silent")
    return Outcome("left out" if any(note.startswith("left out") for note in notes) else "noted", notes)


def _replicates(case: Case, library: Any, messages: list[str]) -> Outcome:
    """Outcome of kind 18: is every sample in one piece, and does a message mention it?"""
    truth = np.array(case.wrong.attrs["samples"])
    rows = np.arange(len(truth)) if library.row_numbers is None else np.asarray(library.row_numbers) - 1
    labels = np.asarray(library.ids if library.samples is None else library.samples)
    frame = pd.DataFrame({"truth": truth[rows], "label": labels})
    pieces = frame.groupby("truth")["label"].nunique()
    counts = frame["truth"].value_counts()
    whole = float((pieces[counts[counts > 1].index] == 1).mean())
    mixed = int((frame.groupby("label")["truth"].nunique() > 1).sum())
    relevant = [message for message in messages if REPLICATE_WORDS.search(message)]
    text = f"{whole:.0%} of the samples in one piece, {mixed} labels hold several samples"
    if not relevant:
        return Outcome("silent", [], text)
    return Outcome("linked" if whole == 1 else "linked some", relevant, text if whole < 1 or mixed else "")


def measured(seed: int, folder: Path, count: int, kind: int) -> tuple[list[tuple[Case, Outcome]], list[str]]:
    """The first `count` tables of a kind whose sound table is read in full, and the answers to other sound tables."""
    results: list[tuple[Case, Outcome]] = []
    skipped: list[str] = []
    for number in range(4 * count):
        case = make_case(seed, kind, number, folder)
        # Mid-infrared spectra are no sound table of this project, whatever the names of their bands.
        targets = case.wrong.attrs.get("targets", ()) if kind in (13, 15) else ()
        sound = InputError("") if kind == 2 else read(case.sound, tuple(t for t in targets if t in case.sound))
        answers = [str(sound)] if isinstance(sound, Exception) else [str(row[-1]) for row in sound.dropped]
        if kind != 2 and answers:
            skipped.append(f"{case.sound.attrs['set']}: {_shape(answers[0])}")
            continue
        results.append((case, judged(case, sound, read(case.wrong, case.wrong.attrs.get("targets", ())))))
        if len(results) == count:
            break
    return results, skipped


def main() -> None:
    """Parse, make and read the tables, print shares, messages and silent tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--kinds", default=",".join(str(kind) for kind in KINDS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results: list[tuple[Case, Outcome]] = []
    skipped: Counter[str] = Counter()
    for kind in (int(text) for text in options.kinds.split(",")):
        of_kind, unread = measured(options.seed, options.folder, options.count, kind)
        results += of_kind
        skipped.update(unread)
        words = Counter(outcome.word for _, outcome in of_kind)
        detected = sum(words[word] for word in DETECTED)
        parts = ", ".join(f"{word} {number}" for word, number in words.most_common())
        print(f"kind {kind:2}: {detected} of {words.total()} detected ({parts})", flush=True)
    for heading, chosen in (("Detected", True), ("Not detected", False)):
        print(f"\n{heading}:")
        for case, outcome in results:
            if (outcome.word in DETECTED) == chosen:
                print(f"{case.kind} {outcome.word}: {case.description} {outcome.missed}")
                for message in outcome.messages[:4]:
                    print(f"      {message[-2000:] if outcome.word == 'crash' else message[:300]}")
    print("\nSound tables that are refused or lose rows, left out here:")
    for text, number in skipped.most_common():
        print(f"{number} x {text[:300]}")
    print("\nPython warnings of the reader:")
    for text, number in Counter(PYTHON_WARNINGS).most_common():
        print(f"{number} x {text}")
    if options.out:
        with options.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["kind", "outcome", "description", "missed", "messages"])
            for case, outcome in results:
                writer.writerow(
                    [case.kind, outcome.word, case.description, outcome.missed, " | ".join(outcome.messages)]
                )


if __name__ == "__main__":
    main()
