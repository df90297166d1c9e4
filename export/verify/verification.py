"""Verification of a device file: compared with the Keras model on every runtime, and with the tolerances of its recipe.

`verify(trained, recipe, file)` returns a `Verification`; the bundle's card holds its `as_dict()`:
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.bundling.stored_run import StoredRun
from export.convert.operators import audit
from export.recipes import Recipe
from export.verify.runtimes import RUNTIMES, Outputs, Runtime, RuntimeRefusal, arena_bytes
from relple_tf.evaluation.metrics import scores
from relple_tf.models.deployed import T2, Q
from relple_tf.models.domain import status

FEWEST_R2_VALUES = 20
"""With fewer laboratory values in the test part the loss of R2 is reported, but not limited."""
TIMED_ROWS = 200
"""Latency is measured on the last calls of the second run, at most this many; the earlier calls are the warm-up."""

IMPOSSIBLE: dict[str, float] = {"nan": np.nan, "infinite": np.inf, "dark": 0.0, "white": 1.0}
"""Kind of impossible scan -> its value in all bands."""


@dataclass(frozen=True, kw_only=True)
class RuntimeResult:
    """Result of a file on a runtime."""

    unavailable: str | None = None
    """Reason why the runtime did not run the file; None if it did."""
    lacks: tuple[str, ...] = ()
    """Operators of the file that the runtime lacks."""
    targets: dict[str, dict[str, float]] | None = None
    """Target -> largest_error, rms_error, rmse in its unit; r2; largest_error_sd, rms_error_sd in SDs of its test
    values."""
    largest_distance_error: dict[str, float] | None = None
    """T2 and Q -> largest |file - Keras| of the scans that Keras finds inside, divided by the limit."""
    same_bits_twice: bool | None = None
    """Whether a second run of all scans, in reverse order, gave the same bits."""
    latency_ms: dict[str, float] | None = None
    """median and p95 of one scan on this computer, with one thread."""
    arena_bytes: int | None = None
    """Smallest arena; TFLM only."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Results of a file on all runtimes, measured on the test part."""

    recipe: str
    sha256: str
    bytes: int
    gzip_bytes: int
    weights_bytes: int
    macs: int
    operators: dict[str, int]
    keras: dict[str, dict[str, float]]
    """Target -> r2 and rmse of the Keras model."""
    test_sd: dict[str, float]
    """Target -> SD of its test values, in its unit."""
    runtimes: dict[str, RuntimeResult]
    """Name of the runtime -> result."""
    impossible: dict[str, dict[str, str]]
    """Kind of IMPOSSIBLE scan -> runtime -> status."""

    def as_dict(self) -> dict[str, Any]:
        """Convert to a dictionary for JSON."""
        return asdict(self)

    @property
    def verified(self) -> tuple[str, ...]:
        """Runtimes that ran the file."""
        return tuple(name for name, result in self.runtimes.items() if result.targets is not None)


def verify(trained: StoredRun, recipe: Recipe, file: Path, runtimes: tuple[Runtime, ...] = RUNTIMES) -> Verification:
    """Run a file on all test scans with every runtime.

    Args:
        trained: The run that the file was made from.
        recipe: The recipe that the file was made by.
        file: The .tflite.
        runtimes: The runtimes to run it on.

    Raises:
        InputError: the file holds an operator that no device computes correctly.
    """
    content = file.read_bytes()
    audited = audit(content)
    results: dict[str, RuntimeResult] = {}
    statuses: dict[str, dict[str, str]] = {kind: {} for kind in IMPOSSIBLE}
    for runtime in runtimes:
        lacks = audited.lacks.get(runtime.name, ())
        reason = runtime.available() or (f"lacks {', '.join(lacks)}" if lacks else None)
        if reason is None:
            try:
                results[runtime.name] = result_on(runtime, content, trained)
                for kind, status_ in impossible_statuses(runtime, content, trained).items():
                    statuses[kind][runtime.name] = status_
                continue
            except RuntimeRefusal as refusal:
                reason = f"refuses the file: {refusal}"
        results[runtime.name] = RuntimeResult(unavailable=reason, lacks=lacks)
    return Verification(
        recipe=recipe.name,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        gzip_bytes=len(gzip.compress(content, mtime=0)),
        weights_bytes=audited.weights_bytes,
        macs=audited.macs,
        operators=audited.operators,
        keras=keras_accuracy(trained),
        test_sd=test_sd(trained),
        runtimes=results,
        impossible=statuses,
    )


def tolerance_exceeded(verification: Verification, recipe: Recipe) -> str | None:
    """Check the tolerances of a recipe.

    Returns:
        None, or one line with the runtime, the target and the excess over the tolerance. A file that no runtime ran is
        not verified, so it fails too.
    """
    if not verification.verified:
        return f"{recipe.name}: no runtime on this computer ran the file, so it is not verified"
    for runtime in verification.verified:
        result = verification.runtimes[runtime]
        for target, figures in (result.targets or {}).items():
            keras = verification.keras[target]
            error, loss = figures["largest_error_sd"], keras["r2"] - figures["r2"]
            # `not <=`, so that NaN exceeds the tolerance.
            if not error <= recipe.largest_error:
                return (
                    f"{recipe.name}: {target} on {runtime} differs from Keras by up to {error:.3g} test SDs, "
                    f"{error - recipe.largest_error:.2g} above the tolerance {recipe.largest_error:g}"
                )
            # R2 of few values, such as the local soils of an adapted run, changes by hundredths with any difference.
            if keras["n"] >= FEWEST_R2_VALUES and not loss <= recipe.largest_r2_loss:
                return (
                    f"{recipe.name}: {target} on {runtime} loses {loss:.4f} of R2, "
                    f"{loss - recipe.largest_r2_loss:.2g} above the tolerance {recipe.largest_r2_loss:g}"
                )
        if not result.same_bits_twice:
            return f"{recipe.name}: {runtime} gives different bits when it computes the same scan again"
    for kind, statuses in verification.impossible.items():
        for runtime, status_ in statuses.items():
            if status_ != "invalid":
                return f"{recipe.name}: {runtime} gives numbers for an impossible scan ({kind})"
    return None


def test_sd(trained: StoredRun) -> dict[str, float]:
    """Target -> SD of its measured test values, in its unit."""
    return {target: float(np.nanstd(values)) for target, values in trained.test_values.items()}


def keras_accuracy(trained: StoredRun) -> dict[str, dict[str, float]]:
    """Target -> n, r2 and rmse of the Keras model on the test part."""
    return {target: _accuracy(trained.test_values[target], trained.test_outputs[target]) for target in trained.targets}


def result_on(runtime: Runtime, content: bytes, trained: StoredRun) -> RuntimeResult:
    """Run a file on all test scans twice, and compare the outputs with Keras and with the laboratory values."""
    scans = trained.test_scans
    outputs, _ = runtime.timed(content, scans)
    again, seconds = runtime.timed(content, scans[::-1])
    same = all(values[::-1].tobytes() == outputs[name].tobytes() for name, values in again.items())
    expected, sd = trained.test_outputs, test_sd(trained)
    targets = {}
    for target in trained.targets:
        error = np.abs(outputs[target].astype(np.float64) - expected[target])
        largest, rms = float(error.max()), float(np.sqrt(np.mean(error**2)))
        targets[target] = {
            "largest_error": largest,
            "rms_error": rms,
            "largest_error_sd": largest / sd[target],
            "rms_error_sd": rms / sd[target],
            **_accuracy(trained.test_values[target], outputs[target]),
        }
    timed = 1e3 * seconds[-TIMED_ROWS:]
    return RuntimeResult(
        targets=targets,
        largest_distance_error=_domain_statistic_errors(outputs, trained),
        same_bits_twice=same,
        latency_ms={"median": float(np.median(timed)), "p95": float(np.percentile(timed, 95))},
        arena_bytes=arena_bytes(content, scans[0]) if runtime.name == "TFLM" else None,
    )


def _domain_statistic_errors(outputs: Outputs, trained: StoredRun) -> dict[str, float]:
    """T2 and Q -> largest difference from Keras of the test scans inside the limit, divided by the limit."""
    errors = {}
    for name, limit in ((T2, trained.limits.t2), (Q, trained.limits.q)):
        inside = trained.test_outputs[name] <= limit
        difference = np.abs(outputs[name] - trained.test_outputs[name])[inside]
        errors[name] = float(difference.max(initial=0.0)) / limit
    return errors


def _accuracy(measured: npt.NDArray[np.float64], predicted: npt.NDArray[Any]) -> dict[str, float]:
    figures = scores(measured, predicted.astype(np.float64))
    return {name: figures[name] for name in ("n", "r2", "rmse")}


def impossible_statuses(runtime: Runtime, content: bytes, trained: StoredRun) -> dict[str, str]:
    """Kind of IMPOSSIBLE scan -> status from the outputs of the file, without a check of the scan itself."""
    scans = np.stack([np.full(trained.test_scans.shape[1], value, np.float32) for value in IMPOSSIBLE.values()])
    outputs = runtime.run(content, scans)
    statuses = status({target: outputs[target] for target in trained.targets}, outputs[T2], outputs[Q], trained.limits)
    return dict(zip(IMPOSSIBLE, statuses.tolist(), strict=True))
