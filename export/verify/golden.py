"""Golden vectors: a few scans, with all that lies between them and the estimates, to hold every runtime against."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from export.bundling.stored_run import StoredRun
from export.c.front_end import FrontEnd
from export.recipes import Recipe
from export.runtime.soil_scan import SoilScan, dequantise, quantise
from export.verify.runtimes import RUNTIMES
from relple_tf.spectra.library import REFLECTANCE_FLOOR
from relple_tf.spectra.sources.out_of_domain import foreign_scans

Floats = npt.NDArray[np.float32]

(TFLM,) = (runtime for runtime in RUNTIMES if runtime.name == "TFLM")
ABOUT = (
    "scans: raw, as the sensor gives them, null where there is no number (golden.npz says whether it is NaN or "
    "infinite). keras: what the trained graph says, in laboratory units. variants: what LiteRT's default runtime said "
    "through soil_scan.py, and the tolerance, in the target's unit: how far from keras any runtime may be for a scan "
    "that is ok, and from what was recorded for one that is outside. distance_tolerance is a share of the larger of "
    "limit and keras's T2 or Q; feature_tolerance is absolute for features up to 1, a share of larger ones. golden.npz "
    "holds the same scans with the front end's output (features) and each variant's input and outputs as stored, as "
    "real numbers and, under tflm, as TensorFlow Lite for Microcontrollers stored them on x86-64 where it was "
    "installed: tolerances forgive a forgotten Reset or a wrong rounding, these numbers do not. What is not to be run "
    "is NaN or 0 there."
)

SOILS = 8
FEATURE_TOLERANCE = 1e-5
"""Of a front end in double precision, in standard deviations of a feature, or as a share of features above 1."""
DISTANCE_TOLERANCE = 0.01
"""Of T2 and Q, as a share of the larger of distance and limit."""


def cases(trained: StoredRun) -> dict[str, Floats]:
    """Name -> scan (bands,): soils from the most ordinary to the strangest by T2, and what is no scan of a soil."""
    found = {}
    for part, ids, scans in (
        ("train", trained.train_ids, trained.train_scans),
        ("test", trained.test_ids, trained.test_scans),
    ):
        order = np.argsort(trained.outputs(scans)["T2"], kind="stable")
        for row in order[np.linspace(0, len(order) - 1, min(SOILS // 2, len(order))).round().astype(int)]:
            found[f"{part} {ids[row]}"] = scans[row]
    soil = next(iter(found.values()))
    quantity, nm = trained.card["input"]["quantity"], np.array(trained.card["input"]["wavelengths_nm"])
    middle = len(nm) // 2
    for name, value in (("nan", np.nan), ("infinite", np.inf)):
        found[name] = soil.copy()
        found[name][middle] = value
    found["constant"] = np.full_like(soil, soil[middle])
    found["percent"] = 100 * soil
    for kind in ("dark_scan", "white_reference"):
        reflectance = foreign_scans(kind, nm, 1, seed=0)[0]
        found[kind.replace("_", " ")] = (
            reflectance if quantity == "reflectance" else -np.log10(np.maximum(reflectance, REFLECTANCE_FLOOR))
        )
    return found


def soil_count(trained: StoredRun) -> int:
    """How many scans of training and test soils `cases` takes."""
    return sum(min(SOILS // 2, len(scans)) for scans in (trained.train_scans, trained.test_scans))


def vectors(
    trained: StoredRun,
    front_end: FrontEnd,
    devices: dict[str, SoilScan],
    recipes: dict[str, Recipe],
    on_tflm: dict[str, bytes],
) -> tuple[dict[str, Any], bytes]:
    """The content of golden.json and of golden.npz.

    Args:
        trained: The run.
        front_end: Its front end.
        devices: Name of a variant -> it, opened.
        recipes: Name of a variant -> its recipe, whose promise is the tolerance.
        on_tflm: Name of a variant that TFLM runs -> its file.
    """
    named = cases(trained)
    scans = np.stack(list(named.values()))
    first = next(iter(devices.values()))
    possible = np.array([not first.impossible(scan) for scan in scans])
    keras = {name: np.full(len(scans), np.nan, "float32") for name in (*trained.targets, "T2", "Q")}
    for name, values in trained.outputs(scans[possible]).items():
        keras[name][possible] = values
    features = np.full((len(scans), *front_end.mean.shape), np.nan, "float32")
    features[possible] = front_end.features(scans[possible])
    arrays: dict[str, npt.NDArray[Any]] = {"scans": scans, "features": features}
    arrays |= {f"keras/{name}": values for name, values in keras.items()}
    variants = {}
    for name, device in devices.items():
        estimates = [device.estimate(scan) for scan in scans]
        variants[name] = {
            "tolerance": tolerances(trained, recipes[name]),
            "estimates": [estimate.as_dict() for estimate in estimates],
        }
        arrays |= stored(name, device, scans, possible)
        if name in on_tflm:
            arrays |= by_tflm(name, on_tflm[name], arrays[f"{name}/input"], possible)
    facts = {
        "about": ABOUT,
        "feature_tolerance": FEATURE_TOLERANCE,
        "distance_tolerance": DISTANCE_TOLERANCE,
        "cases": [
            {
                "name": name,
                "scan": numbers(scan),
                "keras": {output: float(values[row]) for output, values in keras.items()} if possible[row] else None,
            }
            for row, (name, scan) in enumerate(named.items())
        ],
        "variants": variants,
    }
    return facts, packed(arrays)


def tolerances(trained: StoredRun, recipe: Recipe) -> dict[str, float]:
    """Target -> what its recipe promises, in the target's unit."""
    return {name: recipe.largest_error * float(np.nanstd(values)) for name, values in trained.test_values.items()}


def stored(
    variant: str, device: SoilScan, scans: Floats, possible: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[Any]]:
    """A variant's input and outputs, as stored and as real numbers; 0 for the scans that are not to be run."""
    found: dict[str, npt.NDArray[Any]] = {}

    def keep(name: str, row: int, value: npt.NDArray[Any]) -> None:
        key = f"{variant}/{name}"
        if key not in found:
            found[key] = np.zeros((len(scans), *value.shape[1:]), value.dtype)
        found[key][row] = value[0]

    for row in np.flatnonzero(possible).tolist():
        read = scans[row] if device.front_end is None else device.front_end.run(scans[row])["features"]
        network = device.network
        value = quantise(read.reshape(network.input["shape"]), network.input)
        keep("input", row, value)
        for name, output in network.run_stored(value).items():
            keep(f"stored/{name}", row, output)
            keep(f"real/{name}", row, dequantise(output, network.outputs[name]))
    return found


def by_tflm(
    variant: str, content: bytes, inputs: npt.NDArray[Any], possible: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[Any]]:
    """A variant's outputs as TFLM stores them, for the scans that are to be run; 0 for the others."""
    found = {}
    for name, values in TFLM.run(content, inputs[possible]).items():
        found[f"{variant}/tflm/{name}"] = np.zeros(len(inputs), values.dtype)
        found[f"{variant}/tflm/{name}"][possible] = values
    return found


def numbers(scan: Floats) -> list[float | None]:
    """A scan as JSON knows it, with as many digits as float32 has."""
    return [float(str(value)) if np.isfinite(value) else None for value in scan]


def packed(arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    """An .npz; NumPy dates its members 1980, so that the same arrays are the same bytes."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
