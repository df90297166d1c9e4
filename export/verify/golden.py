"""Golden vectors: scans and expected predictions, to test every runtime against."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from export.bundling.stored_run import StoredRun
from export.recipes import Recipe
from export.runtime.soil_scan import SoilScan
from export.verify.runtimes import RUNTIMES
from relple_tf.spectra.library import REFLECTANCE_FLOOR
from relple_tf.spectra.sources.out_of_domain import out_of_domain_scans

Floats = npt.NDArray[np.float32]

(TFLM,) = (runtime for runtime in RUNTIMES if runtime.name == "TFLM")
ABOUT = (
    "scans: raw, as the sensor records them; null is NaN or infinite (golden.npz holds which). keras: output of the "
    "trained model, in laboratory units. variants: results of soil_scan.py on LiteRT's default runtime, and the "
    "tolerance in the target's unit: the largest difference of any runtime from keras for a scan with status ok, and "
    "from the recorded result for a scan with status outside. distance_tolerance is a fraction of the larger of the "
    "limit and keras's T2 or Q. golden.npz holds the same scans and the outputs of each variant as float32: under "
    "litert those of LiteRT's default runtime, under tflm those of TensorFlow Lite for Microcontrollers on x86-64, if "
    "it was installed. A missing Reset or a wrong rounding can stay within the tolerances, but it changes these "
    "numbers. Impossible scans are not run; their entries there are NaN."
)

SOILS = 8
"""Number of soil scans, half from the training part and half from the test part."""
DISTANCE_TOLERANCE = 0.01
"""Tolerance of T2 and Q, as a fraction of the larger of the statistic and its limit."""


def cases(trained: StoredRun) -> dict[str, Floats]:
    """Name -> scan (bands,): soils from the smallest to the largest T2, and scans that no soil gives."""
    scan_of = {}
    for part, ids, scans in (
        ("train", trained.train_ids, trained.train_scans),
        ("test", trained.test_ids, trained.test_scans),
    ):
        order = np.argsort(trained.outputs(scans)["T2"], kind="stable")
        for row in order[np.linspace(0, len(order) - 1, min(SOILS // 2, len(order))).round().astype(int)]:
            scan_of[f"{part} {ids[row]}"] = scans[row]
    soil = next(iter(scan_of.values()))
    quantity, nm = trained.card["input"]["quantity"], np.array(trained.card["input"]["wavelengths_nm"])
    middle = len(nm) // 2
    for name, value in (("nan", np.nan), ("infinite", np.inf)):
        scan_of[name] = soil.copy()
        scan_of[name][middle] = value
    scan_of["constant"] = np.full_like(soil, soil[middle])
    scan_of["percent"] = 100 * soil
    for kind in ("dark_scan", "white_reference"):
        reflectance = out_of_domain_scans(kind, nm, 1, seed=0)[0]
        scan_of[kind.replace("_", " ")] = (
            reflectance if quantity == "reflectance" else -np.log10(np.maximum(reflectance, REFLECTANCE_FLOOR))
        )
    return scan_of


def soil_count(trained: StoredRun) -> int:
    """Number of scans of training and test soils in `cases`."""
    return sum(min(SOILS // 2, len(scans)) for scans in (trained.train_scans, trained.test_scans))


def vectors(
    trained: StoredRun,
    devices: dict[str, SoilScan],
    recipes: dict[str, Recipe],
    on_tflm: dict[str, bytes],
) -> tuple[dict[str, Any], bytes]:
    """Compute the content of golden.json and of golden.npz.

    Args:
        trained: The run.
        devices: Variant -> its opened file.
        recipes: Variant -> its recipe, which holds the tolerance.
        on_tflm: Variant that TFLM runs -> the bytes of its file.
    """
    scan_of = cases(trained)
    scans = np.stack(list(scan_of.values()))
    first_device = next(iter(devices.values()))
    possible = np.array([not first_device.impossible(scan) for scan in scans])

    def of_all(outputs: Mapping[str, Floats]) -> dict[str, Floats]:
        """Outputs of the possible scans -> outputs of all scans (n,), NaN for the impossible scans."""
        complete = {name: np.full(len(scans), np.nan, "float32") for name in outputs}
        for name, values in outputs.items():
            complete[name][possible] = values
        return complete

    keras = of_all(trained.outputs(scans[possible]))
    outputs_of = {"keras": keras}
    variants = {}
    for name, device in devices.items():
        estimates = [device.estimate(scan) for scan in scans]
        variants[name] = {
            "tolerance": tolerances(trained, recipes[name]),
            "estimates": [estimate.as_dict() for estimate in estimates],
        }
        rows = [device.model.run(scan) for scan in scans[possible]]
        outputs_of[f"{name}/litert"] = of_all({output: np.array([row[output] for row in rows]) for output in keras})
        if name in on_tflm:
            outputs_of[f"{name}/tflm"] = of_all(TFLM.run(on_tflm[name], scans[possible]))
    facts = {
        "about": ABOUT,
        "distance_tolerance": DISTANCE_TOLERANCE,
        "cases": [
            {
                "name": name,
                "scan": json_numbers(scan),
                "keras": {output: float(values[row]) for output, values in keras.items()} if possible[row] else None,
            }
            for row, (name, scan) in enumerate(scan_of.items())
        ],
        "variants": variants,
    }
    arrays = {f"{source}/{name}": values for source, outputs in outputs_of.items() for name, values in outputs.items()}
    return facts, npz_bytes({"scans": scans, **arrays})


def tolerances(trained: StoredRun, recipe: Recipe) -> dict[str, float]:
    """Target -> tolerance of the recipe, in the target's unit."""
    return {name: recipe.largest_error * float(np.nanstd(values)) for name, values in trained.test_values.items()}


def json_numbers(scan: Floats) -> list[float | None]:
    """A scan as JSON numbers with the digits of float32; null for NaN and infinity."""
    return [float(str(value)) if np.isfinite(value) else None for value in scan]


def npz_bytes(arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    """An .npz; NumPy dates its entries 1980, so equal arrays give equal bytes."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
