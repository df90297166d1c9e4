"""Predictions of distorted test scans: how far they move, and how many of the wrong ones are flagged.

    python -m benchmarks.distortions RUN [--model BUNDLE_OR_VARIANT] [--corn FILE] [--ossl FILE] [--out DIR]

RUN is the folder of a training; its test scans are distorted in absorbance (`kinds.py`) and predicted by its Keras
model. With --model they are predicted by a bundle of the run instead: the folder, or one .tflite in it. Prints a
Markdown table, and the rows that miss a goal (`figures.py`); writes DIR/distortions.csv with further figures. --corn
(corn_three_instruments.csv.gz) and --ossl (ossl_neospectra_slice.csv.gz) add the fractions of these scans that are ok,
outside and invalid, if their wavelengths are those of the model: corn is not soil, and OSSL is another instrument.
"""

import argparse
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from benchmarks.distortions.figures import figures, missed_goals
from benchmarks.distortions.kinds import DISTORTIONS, LEVELS, Floats
from relple_tf.artefacts.reading import LARGEST_JSON_BYTES
from relple_tf.errors import InputError
from relple_tf.models.deployed import T2, Q
from relple_tf.prediction.bundles import check_model, outputs, read_checked
from relple_tf.prediction.runs import predictions_table
from relple_tf.prediction.saved import SavedModel, load
from relple_tf.runs.card_schema import CARD, bundle_card
from relple_tf.runs.stored_data import DATA, load_data
from relple_tf.spectra.library import REFLECTANCE_FLOOR, SpectralLibrary, impossible_scans
from relple_tf.spectra.range_ends import SAME_NM

SEED = 0
"""Seed of the random numbers of each distortion; the same at all strengths."""


def main() -> None:
    """Parse, predict, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--corn", type=Path)
    parser.add_argument("--ossl", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/distortions"))
    options = parser.parse_args()
    model = load(options.run) if options.model is None else open_model(options.model)
    library, parts = load_data(options.run / DATA)
    check_input(model, library)
    rows = measure(model, library, parts)
    table = pd.DataFrame(rows).assign(missed=["; ".join(missed_goals(row)) for row in rows])
    options.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.out / "distortions.csv", index=False, float_format="%.6g")
    print(f"{model.path}: {np.sum(parts == 'test')} test scans\n\n{markdown(table, model.targets)}\n")
    for row in table[table["missed"] != ""].itertuples():
        print(f"missed: {row.distortion} {row.strength:g}: {row.missed}")
    if options.corn:
        corn = pd.read_csv(options.corn)
        for instrument, scans in corn.groupby("instrument", sort=True):
            print(f"corn, {instrument}: {flags(model, scans, 'absorbance')}")
    if options.ossl:
        print(f"OSSL: {flags(model, pd.read_csv(options.ossl), 'reflectance')}")


def open_model(path: Path) -> SavedModel:
    """Open a bundle, or one .tflite of it.

    Raises:
        InputError: the bundle is damaged, or the file is not one of its models.
    """
    if path.is_dir():
        return load(path)
    folder = path.parent
    card = bundle_card(read_checked(folder, CARD, LARGEST_JSON_BYTES), folder / CARD)
    files = [variant["file"] for variant in card["variants"].values()]
    if path.name not in files:
        raise InputError(f"{path}: expected a model of the bundle: {', '.join(files)}")
    content = read_checked(folder, path.name, path.stat().st_size)
    check_model(content, card, path)
    return SavedModel(path=path, card=card, estimate=partial(outputs, content))


def check_input(model: SavedModel, library: SpectralLibrary) -> None:
    """Compare the input and the targets of a model with the data of the run.

    Raises:
        InputError: the model belongs to another run.
    """
    expected = (library.quantity, tuple(library.targets))
    if (model.quantity, model.targets) != expected or not same_wavelengths(model, library.wavelengths_nm):
        raise InputError(f"{model.path}: expected the quantity, targets and wavelengths of the run; give its bundle")


def same_wavelengths(model: SavedModel, nm: Floats) -> bool:
    """Whether a model reads these wavelengths (bands,)."""
    return nm.shape == model.wavelengths_nm.shape and bool(np.abs(nm - model.wavelengths_nm).max() <= SAME_NM)


def measure(model: SavedModel, library: SpectralLibrary, parts: npt.NDArray[np.str_]) -> list[dict[str, Any]]:
    """Predict the test scans of a run without distortion and with each distortion at each strength.

    Returns:
        Rows with distortion, strength, level, smooth and the figures; the first is undistorted, its level is empty.
    """
    train, test = library.rows(parts == "train"), library.rows(parts == "test")
    measured, sd = test.targets, {name: float(np.nanstd(values, ddof=1)) for name, values in train.targets.items()}
    absorbance = to_absorbance(test.spectra.astype("float64"), library.quantity)
    undistorted = predict(model, absorbance)
    facts: dict[str, Any] = {"distortion": "none", "strength": 0.0, "level": "", "smooth": False}
    rows = [facts | figures(undistorted, undistorted, measured, sd)]
    for distortion in tqdm(DISTORTIONS, unit="distortion"):
        for level, strength in zip(LEVELS, distortion.strengths, strict=True):
            distorted = distortion.function(absorbance, library.wavelengths_nm, strength, np.random.default_rng(SEED))
            facts = {"distortion": distortion.name, "strength": strength, "level": level}
            compared = figures(predict(model, distorted), undistorted, measured, sd)
            rows.append(facts | {"smooth": distortion.is_smooth} | compared)
    return rows


def predict(model: SavedModel, absorbance: Floats) -> pd.DataFrame:
    """Predict scans (n, bands) on the wavelengths of the model, each by itself, as a device does.

    `SavedModel.predict` also checks all scans together and refuses those that look preprocessed.

    Returns:
        As `SavedModel.predict`; impossible scans have status `invalid` and no values.
    """
    scans = (absorbance if model.quantity == "absorbance" else 10.0**-absorbance).astype("float32")
    possible = ~impossible_scans(scans.min(axis=1), scans.max(axis=1), model.quantity)
    columns = {name: np.full(len(scans), np.nan, "float32") for name in (*model.targets, T2, Q)}
    if possible.any():
        for name, values in model.estimate(scans[possible]).items():
            columns[name][possible] = values
    return predictions_table(model.card, {}, columns)


def to_absorbance(spectra: Floats, quantity: str) -> Floats:
    """Convert spectra (n, bands) to absorbance log10(1/R)."""
    absorbance: Floats = spectra if quantity == "absorbance" else -np.log10(np.maximum(spectra, REFLECTANCE_FLOOR))
    return absorbance


def markdown(table: pd.DataFrame, targets: tuple[str, ...]) -> str:
    """The figures as a Markdown table, in percent except R2."""
    shares = {
        "ok": "ok",
        "invalid": "invalid",
        "changed": "changed by > 1 SD",
        "changed_flagged": "of these flagged",
        "coverage": "coverage of ok scans",
        **{f"coverage_{name}": f"coverage {name}" for name in targets},
        "flagged_hardly_changed": "flagged, changed by < .25 SD",
    }
    titles = ["distortion", "strength", *shares.values(), *(f"R2 {name}" for name in targets), "goals"]
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for row in table.to_dict("records"):
        percents = ["" if np.isnan(row[name]) else f"{100 * row[name]:.0f}" for name in shares]
        r2 = ["" if np.isnan(row[f"r2_{name}"]) else f"{row[f'r2_{name}']:.2f}" for name in targets]
        cells = [row["distortion"], f"{row['strength']:g}", *percents, *r2, "missed" if row["missed"] else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def flags(model: SavedModel, table: pd.DataFrame, quantity: str) -> str:
    """Fractions of the scans of a table with each status, as text.

    Args:
        model: The model.
        table: A row per scan; a column whose name is a number is a band in nm.
        quantity: `reflectance` or `absorbance`.
    """
    bands = [name for name in table if re.fullmatch(r"\d+(\.\d+)?", name)]
    nm = np.array(bands, float)
    if not same_wavelengths(model, nm):
        return f"not predicted: {len(nm)} bands, {nm[0]:g} to {nm[-1]:g} nm, are not those of the model"
    status = predict(model, to_absorbance(table[bands].to_numpy(float), quantity))["status"]
    return f"{len(table)} scans: " + json.dumps(status.value_counts(normalize=True).round(3).to_dict())


if __name__ == "__main__":
    main()
