"""Write `soil_scan.html` and check the model that it holds.

The page is one file: HTML, style, JavaScript from `templates/`, and data as JSON. Its Content-Security-Policy names the
hashes of the style and the script, so a browser runs nothing else and the page cannot reach a network.
"""

import base64
import hashlib
import html
import json
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt

from export.bundling.stored_run import StoredRun
from export.graph.interpreter import run_all
from export.graph.operator_list import OperatorList
from export.graph.reading import read
from export.page.model_data import as_data, from_data
from export.recipes import Recipe
from export.runtime.soil_scan import (
    FLATTEST_ABSORBANCE,
    NEED_TOLERANCE,
    POSSIBLE,
    REFLECTANCE_FLOOR,
    SAME_NM,
    SHORTEST_NM,
    Bands,
)
from relple_tf.errors import InputError
from relple_tf.evaluation.formatting import with_unit
from relple_tf.models.deployed import T2, Q
from relple_tf.models.domain import status

Card = dict[str, Any]
Floats = npt.NDArray[np.float32]

NAME = "soil_scan.html"
SCRIPTS = ("interpreter.js", "estimate.js", "scans.js", "picture.js", "results.js", "page.js")
"""Scripts in the order in which the page runs them."""
QUANTILES = (0.05, 0.5, 0.95)
"""Quantiles of the training scans that the page draws."""
DECIMALS = 4
"""Decimals of the quantiles: finer than a line on a screen."""
MOST_SCANS = 200
"""The check runs at most this many test scans, because NumPy takes up to 50 ms for each."""
DATA_START = '<script type="application/json" id="data">'


def write_page(folder: Path, trained: StoredRun, card: Card, content: bytes, recipe: Recipe) -> Card:
    """Write the page into the folder of a bundle.

    Args:
        folder: The bundle.
        trained: The run.
        card: Card of the bundle.
        content: The float32 .tflite, without its card.
        recipe: Recipe of this file, which holds the tolerance.

    Returns:
        Entry `page` of the card; with the reason under `unavailable` if the model has an operator that the page lacks.

    Raises:
        InputError: the model in the page differs from Keras.
    """
    try:
        model = read(content)
    except InputError as error:
        return {"unavailable": str(error).partition(";")[0]}
    text = page(model, card, hashlib.sha256(content).hexdigest(), trained.train_scans)
    facts = checked(text, trained, recipe)
    (folder / NAME).write_text(text, encoding="utf-8")
    return facts


def page(model: OperatorList, card: Card, model_sha256: str, train_scans: Floats) -> str:
    """Write the page.

    Args:
        model: The float32 model.
        card: Card of the bundle; variants are not read.
        model_sha256: SHA-256 of the .tflite, without its card, from which `model` was read.
        train_scans: (n, bands), for the quantiles.
    """
    data = {"facts": page_facts(card, model_sha256), "quantiles": quantiles(train_scans), "model": as_data(model)}
    # `<` would end the script element in `</script`.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    style, script = template("page.css"), "\n".join(['"use strict";', *map(template, SCRIPTS)])
    inline = f"style-src {source(style)}; script-src {source(script)}"
    return Template(template("page.html")).substitute(
        policy=f"default-src 'none'; {inline}; base-uri 'none'; form-action 'none'",
        title=html.escape(title(card)),
        style=style,
        reads=reads(card),
        warning=SIMULATED if card["simulated"] else "",
        about=about(card, model_sha256),
        data=f"{DATA_START}{text}</script>",
        script=script,
    )


SIMULATED = '<p class="warning">This model was trained on simulated spectra. Its values are not laboratory values.</p>'


def title(card: Card) -> str:
    """Targets with units."""
    return ", ".join(with_unit(name, facts["unit"]) for name, facts in card["targets"].items())


def reads(card: Card) -> str:
    """Quantity and range that the model reads."""
    quantity, nm = card["input"]["quantity"], card["input"]["wavelengths_nm"]
    words = {"reflectance": "reflectance from 0 to 1", "absorbance": "absorbance, log10(1 / reflectance)"}[quantity]
    return f"{words}, at {nm[0]:g} to {nm[-1]:g} nm; scans on other wavelengths are interpolated"


def template(name: str) -> str:
    """Text of a file in `templates/`."""
    return resources.files("export.page").joinpath("templates", name).read_text("utf-8")


def source(text: str) -> str:
    """An inline style or script in a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def quantiles(scans: Floats) -> list[list[float]]:
    """QUANTILES of scans (n, bands) per band, rounded: (3, bands)."""
    rounded: list[list[float]] = np.quantile(scans.astype(float), QUANTILES, axis=0).round(DECIMALS).tolist()
    return rounded


def page_facts(card: Card, model_sha256: str) -> Card:
    """The part of the card that the page needs, and the constants of soil_scan.py."""
    bands, quantity = Bands.of(card), card["input"]["quantity"]
    low, high = POSSIBLE[quantity]
    return {
        "quantity": quantity,
        "wavelengths_nm": card["input"]["wavelengths_nm"],
        "end_tolerance_nm": list(bands.end_tolerance_nm),
        "gap_nm": bands.gap_nm.round(6).tolist(),
        "id_column": card["id_column"],
        "limits": card["domain"]["limits"],
        "share_within": card["domain"]["share_within"],
        "targets": {
            name: {
                "label": with_unit(name, facts["unit"]).removesuffix(f" ({facts['unit']})"),
                "unit": facts["unit"],
                "interval": facts["interval"],
            }
            for name, facts in card["targets"].items()
        },
        "check": {
            "low": low,
            "high": high,
            "floor": REFLECTANCE_FLOOR,
            "flattest": FLATTEST_ABSORBANCE,
            "same_nm": SAME_NM,
            "shortest_nm": SHORTEST_NM,
            "need_tolerance": NEED_TOLERANCE,
        },
        "model_sha256": model_sha256,
        "data_sha256": card["data_sha256"],
    }


def about(card: Card, model_sha256: str) -> str:
    """What the model is and reads, as the rows of a description list."""
    rows = {
        "Predicts": title(card),
        "Reads": reads(card),
        "Trained on": f"{card['soils']['train']:,} scans",
        "Model id": model_sha256,
        "Hash of the training data": card["data_sha256"],
        "Version": f"relple_tf {card['versions']['training'].get('relple_tf', '')}, {card['model']['preset']}",
    }
    return "\n".join(f"<dt>{name}</dt><dd>{html.escape(str(value))}</dd>" for name, value in rows.items())


def stored_model(text: str) -> OperatorList:
    """Read the model out of the text of a page."""
    data = text.partition(DATA_START)[2].partition("</script>")[0]
    return from_data(json.loads(data)["model"])


def checked(text: str, trained: StoredRun, recipe: Recipe) -> Card:
    """Compute test scans with the model in a page and NumPy, and compare with Keras.

    Returns:
        Entry `page` of the card: name and size of the file, number of scans, how many of them have the status of
        Keras, and target -> largest difference from Keras in SDs of its test values.

    Raises:
        InputError: a difference exceeds the tolerance of the recipe.
    """
    rows = np.linspace(0, len(trained.test_scans) - 1, min(MOST_SCANS, len(trained.test_scans))).round().astype(int)
    outputs = run_all(stored_model(text), trained.test_scans[rows])
    expected = {name: values[rows] for name, values in trained.test_outputs.items()}
    largest = {}
    for target in trained.targets:
        sd = float(np.nanstd(trained.test_values[target]))
        largest[target] = float(np.abs(outputs[target].astype(float) - expected[target]).max()) / sd
        # `not <=`, so that NaN exceeds the tolerance.
        if not largest[target] <= recipe.largest_error:
            raise InputError(
                f"{NAME}: {target} differs from Keras by up to {largest[target]:.3g} test SDs, above the tolerance "
                f"{recipe.largest_error:g}; train the run again, or report the run"
            )
    statuses = []
    for values in (outputs, expected):
        t2, q = (values[name].astype(np.float64) for name in (T2, Q))
        statuses.append(status({target: values[target] for target in trained.targets}, t2, q, trained.limits))
    return {
        "file": NAME,
        "bytes": len(text.encode()),
        "verified_by": "the NumPy interpreter of its list of operators, compared with Keras; not run in a browser",
        "scans": len(rows),
        "same_status": int((statuses[0] == statuses[1]).sum()),
        "largest_error_sd": largest,
    }
