"""Every file against the Keras model on every runtime, and against the promise of its recipe.

`verify(trained, recipe, file)` gives a `Verification`; its `as_dict()` is what stands in the bundle's card:
    {"recipe", "sha256", "bytes", "gzip_bytes", "weights_bytes", "macs", "operators": {name: count},
     "keras": {target: {"r2", "rmse"}}, "test_sd": {target: SD},
     "runtimes": {name: {"unavailable": reason or None, "lacks": [operator],
                         "targets": {target: {"largest_error", "rms_error", "largest_error_sd", "rms_error_sd", "r2",
                                              "rmse"}},
                         "largest_distance_error": {"T2", "Q"} in units of the limits, "same_bits_twice",
                         "latency_ms": {"median", "p95"}, "arena_bytes": bytes or None}},
     "impossible": {"nan", "infinite", "dark", "white": {runtime: status}}}
"""

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.bundling.stored_run import Floats, StoredRun
from export.convert.flatbuffer import Model, parse, signature
from export.convert.operators import audit
from export.recipes import Recipe
from export.verify.runtimes import RUNTIMES, Outputs, Runtime, RuntimeRefusal, arena_bytes
from relple_tf.evaluation.metrics import scores
from relple_tf.models.deployed import T2, Q
from relple_tf.models.domain import status

TIMED_ROWS = 200
"""Calls that latency is measured on, at most, after as many again as warm-up where there are."""

IMPOSSIBLE: dict[str, float] = {"nan": np.nan, "infinite": np.inf, "dark": 0.0, "white": 1.0}
"""Scans that no soil gives, constant over all bands."""


@dataclass(frozen=True, kw_only=True)
class OnRuntime:
    """What one runtime makes of a file."""

    unavailable: str | None = None
    """Why there are no figures."""
    lacks: tuple[str, ...] = ()
    """Operators of the file that the runtime does not have."""
    targets: dict[str, dict[str, float]] | None = None
    """Target -> largest_error, rms_error, r2, rmse in its unit; largest_error_sd, rms_error_sd in SDs of its test
    values."""
    largest_distance_error: dict[str, float] | None = None
    """T2 and Q: largest |file - Keras| of scans that Keras finds inside, over the limit. None for a file without."""
    same_bits_twice: bool | None = None
    """Whether all scans, run again in reverse order, gave the same bits."""
    latency_ms: dict[str, float] | None = None
    """median, p95 of one scan on this machine, one thread."""
    arena_bytes: int | None = None
    """TFLM only."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What is known of a file; every figure from the test part."""

    recipe: str
    sha256: str
    bytes: int
    gzip_bytes: int
    weights_bytes: int
    macs: int
    operators: dict[str, int]
    keras: dict[str, dict[str, float]]
    """Target -> r2, rmse of the Keras model."""
    test_sd: dict[str, float]
    """Target -> SD of its test values, in its unit."""
    runtimes: dict[str, OnRuntime]
    impossible: dict[str, dict[str, str]]
    """Kind of scan -> runtime -> status."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @property
    def verified(self) -> tuple[str, ...]:
        """Runtimes that ran the file."""
        return tuple(name for name, found in self.runtimes.items() if found.targets is not None)


def verify(trained: StoredRun, recipe: Recipe, file: Path, runtimes: tuple[Runtime, ...] = RUNTIMES) -> Verification:
    """Run a file on all test scans with every runtime.

    Args:
        trained: The run that it was made from.
        recipe: What it was made by.
        file: The .tflite.
        runtimes: On these.

    Raises:
        InputError: the file holds an operator that no device computes rightly.
    """
    content = file.read_bytes()
    found = audit(content)
    rows, in_lab_units = reader(trained, recipe, parse(content))
    test_rows = rows(trained.test_scans)
    results: dict[str, OnRuntime] = {}
    states: dict[str, dict[str, str]] = {kind: {} for kind in IMPOSSIBLE}
    for runtime in runtimes:
        lacks = found.lacks.get(runtime.name, ())
        reason = runtime.available() or (f"lacks {', '.join(lacks)}" if lacks else None)
        if reason is None:
            try:
                results[runtime.name] = _on(runtime, content, test_rows, in_lab_units, trained)
                for kind, state in impossible(runtime, content, rows, in_lab_units, trained).items():
                    states[kind][runtime.name] = state
                continue
            except RuntimeRefusal as refusal:
                reason = f"refuses the file: {refusal}"
        results[runtime.name] = OnRuntime(unavailable=reason, lacks=lacks)
    return Verification(
        recipe=recipe.name,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        gzip_bytes=len(gzip.compress(content, mtime=0)),
        weights_bytes=found.weights_bytes,
        macs=found.macs,
        operators=found.operators,
        keras={
            target: _accuracy(trained.test_values[target], trained.test_outputs[target]) for target in trained.targets
        },
        test_sd=test_sd(trained),
        runtimes=results,
        impossible=states,
    )


def tolerance_exceeded(verification: Verification, recipe: Recipe) -> str | None:
    """One line that names the runtime, the target and by how much a file is worse than its recipe promises, or None.

    A file that no runtime here took has verified nothing, which is a broken promise too.
    """
    if not verification.verified:
        return f"{recipe.name}: no runtime here ran the file, so nothing of its promise is known"
    for runtime in verification.verified:
        found = verification.runtimes[runtime]
        for target, figures in (found.targets or {}).items():
            error, loss = figures["largest_error_sd"], verification.keras[target]["r2"] - figures["r2"]
            # Written so that NaN breaks the promise.
            if not error <= recipe.largest_error:
                return (
                    f"{recipe.name}: {target} on {runtime} differs from Keras by {error:.3g} test SDs at most, "
                    f"{error - recipe.largest_error:.2g} more than the promised {recipe.largest_error:g}"
                )
            if not loss <= recipe.largest_r2_loss:
                return (
                    f"{recipe.name}: {target} on {runtime} loses {loss:.4f} of R2, "
                    f"{loss - recipe.largest_r2_loss:.2g} more than the promised {recipe.largest_r2_loss:g}"
                )
        if not found.same_bits_twice:
            return f"{recipe.name}: {runtime} gives the same scan other bits the second time"
    for kind, states in verification.impossible.items():
        for runtime, state in states.items():
            if state != "invalid":
                return f"{recipe.name}: {runtime} gives numbers for a scan that is {kind}"
    return None


Reader = Callable[[Floats], npt.NDArray[Any]]
"""Scans (n, bands) -> the rows that a file reads."""


def reader(trained: StoredRun, recipe: Recipe, model: Model) -> tuple[Reader, Callable[[Outputs], Outputs]]:
    """How scans become the input of a file, and its outputs laboratory units."""
    if recipe.reads == "scan":
        return (lambda scans: scans), (lambda outputs: outputs)
    inputs, outputs = signature(model)
    tensors = model.subgraphs[0].tensors
    (source,) = inputs.values()

    def rows(scans: Floats) -> npt.NDArray[Any]:
        return quantised(trained.features(scans), tensors[source])

    def in_lab_units(found: Outputs) -> Outputs:
        modelled = [dequantised(found[name], tensors[outputs[name]]) for name in trained.targets]
        values = np.asarray(trained.target_scaling(np.stack(modelled, axis=1)))
        return dict(zip(trained.targets, values.T, strict=True))

    return rows, in_lab_units


def quantised(values: npt.NDArray[Any], tensor: Any) -> npt.NDArray[np.int8]:
    """Numbers as the 8-bit tensor holds them; NaN becomes 0, which a guard before it must not let happen."""
    (scale,), (zero,) = tensor.quantization.scale, tensor.quantization.zeroPoint
    steps = np.nan_to_num(np.round(values / scale), nan=0.0, posinf=1e6, neginf=-1e6) + zero
    kept: npt.NDArray[np.int8] = np.clip(steps, -128, 127).astype(np.int8)
    return kept


def dequantised(steps: npt.NDArray[Any], tensor: Any) -> Floats:
    """What the 8-bit numbers of a tensor stand for."""
    (scale,), (zero,) = tensor.quantization.scale, tensor.quantization.zeroPoint
    values: Floats = ((steps.astype(np.float32) - zero) * scale).astype(np.float32)
    return values


def test_sd(trained: StoredRun) -> dict[str, float]:
    """Target -> SD of its measured test values, in its unit."""
    return {target: float(np.nanstd(values)) for target, values in trained.test_values.items()}


def _on(
    runtime: Runtime,
    content: bytes,
    rows: npt.NDArray[Any],
    in_lab_units: Callable[[Outputs], Outputs],
    trained: StoredRun,
) -> OnRuntime:
    raw, _ = runtime.timed(content, rows)
    again, seconds = runtime.timed(content, rows[::-1])
    same = all(values[::-1].tobytes() == raw[name].tobytes() for name, values in again.items())
    found = in_lab_units(raw)
    expected, spread = trained.test_outputs, test_sd(trained)
    targets = {}
    for target in trained.targets:
        error = np.abs(found[target].astype(np.float64) - expected[target])
        largest, rms = float(error.max()), float(np.sqrt(np.mean(error**2)))
        targets[target] = {
            "largest_error": largest,
            "rms_error": rms,
            "largest_error_sd": largest / spread[target],
            "rms_error_sd": rms / spread[target],
            **_accuracy(trained.test_values[target], found[target]),
        }
    timed = 1e3 * seconds[-TIMED_ROWS:]
    return OnRuntime(
        targets=targets,
        largest_distance_error=_distance_errors(found, trained) if T2 in found else None,
        same_bits_twice=same,
        latency_ms={"median": float(np.median(timed)), "p95": float(np.percentile(timed, 95))},
        arena_bytes=arena_bytes(content, rows[0]) if runtime.name == "TFLM" else None,
    )


def _distance_errors(found: Outputs, trained: StoredRun) -> dict[str, float]:
    errors = {}
    for name, limit in ((T2, trained.limits.t2), (Q, trained.limits.q)):
        inside = trained.test_outputs[name] <= limit
        difference = np.abs(found[name] - trained.test_outputs[name])[inside]
        errors[name] = float(difference.max(initial=0.0)) / limit
    return errors


def _accuracy(measured: npt.NDArray[np.float64], predicted: npt.NDArray[Any]) -> dict[str, float]:
    figures = scores(measured, predicted.astype(np.float64))
    return {name: figures[name] for name in ("r2", "rmse")}


def impossible(
    runtime: Runtime,
    content: bytes,
    rows: Reader,
    in_lab_units: Callable[[Outputs], Outputs],
    trained: StoredRun,
) -> dict[str, str]:
    """Kind of IMPOSSIBLE scan -> status by the outputs of the file alone, without the check that every runner has.

    A file without T2 and Q leaves the verdict to the front end's own.
    """
    scans = np.stack([np.full(trained.test_scans.shape[1], value, np.float32) for value in IMPOSSIBLE.values()])
    with np.errstate(invalid="ignore"):
        found = in_lab_units(runtime.run(content, rows(scans)))
        keras = trained.outputs(scans)
    distances = {name: found.get(name, keras[name]) for name in (T2, Q)}
    verdicts = status(
        {target: found[target] for target in trained.targets}, distances[T2], distances[Q], trained.limits
    )
    return dict(zip(IMPOSSIBLE, verdicts.tolist(), strict=True))
