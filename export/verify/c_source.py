"""Verification of generated C source: compared with the Keras model on all test scans, and with its tolerances."""

import gzip
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from export.bundling.stored_run import StoredRun
from export.c.soil_model import SoilModel
from export.c.tables import with_rounded_constants
from export.convert.operators import audit
from export.graph.reading import read
from export.recipes import Recipe
from export.verify.c_program import FLAGS, NumpyOperators, compiled, compiler, version_of
from export.verify.runtimes import Runtime, RuntimeRefusal
from export.verify.verification import (
    RuntimeResult,
    Verification,
    impossible_statuses,
    keras_accuracy,
    result_on,
    test_sd,
)
from relple_tf.models.deployed import T2, Q
from relple_tf.models.domain import Limits, status

NO_COMPILER = "NumPy, because neither cc nor gcc was found"
LIMIT_MARGIN = 0.01
"""A scan whose T2 or Q is this near to its limit, as a fraction of the limit, may have another status than in Keras."""


@dataclass(frozen=True, kw_only=True)
class CVerification:
    """Results of a generated source on the test scans."""

    verification: Verification
    """With the runtime `C`."""
    verified_with: str
    """Compiler and flags, or NO_COMPILER."""
    other_status: int
    """Scans with another status than in Keras."""
    other_status_near_limit: int
    """Those of them whose T2 or Q in Keras is within LIMIT_MARGIN of its limit."""


def verify_c(trained: StoredRun, recipe: Recipe, content: bytes, source: SoilModel) -> CVerification:
    """Run a generated source on all test scans.

    Args:
        trained: The run.
        recipe: The recipe of the source.
        content: The float32 .tflite from which it was generated.
        source: The source.
    """
    text = source.files["soil_model.c"].encode()
    statuses: dict[str, str] = {}
    other = near = 0
    verified_with = NO_COMPILER
    try:
        with runtime_of(trained, recipe, content, source) as (runtime, verified_with):
            results = result_on(runtime, content, trained)
            statuses = impossible_statuses(runtime, content, trained)
            other, near = status_differences(runtime, trained)
    except RuntimeRefusal as refusal:
        results = RuntimeResult(unavailable=str(refusal))
    verification = Verification(
        recipe=recipe.name,
        sha256=hashlib.sha256(text).hexdigest(),
        bytes=len(text),
        gzip_bytes=len(gzip.compress(text, mtime=0)),
        weights_bytes=source.table_bytes,
        macs=audit(content).macs,
        operators=dict(sorted(Counter(operator.name for operator in read(content).operators).items())),
        keras=keras_accuracy(trained),
        test_sd=test_sd(trained),
        runtimes={"C": results},
        impossible={kind: {"C": value} for kind, value in statuses.items()},
    )
    return CVerification(
        verification=verification,
        verified_with=verified_with,
        other_status=other,
        other_status_near_limit=near,
    )


@contextmanager
def runtime_of(trained: StoredRun, recipe: Recipe, content: bytes, source: SoilModel) -> Iterator[tuple[Runtime, str]]:
    """The compiled source and its compiler; without a compiler, NumPy and NO_COMPILER."""
    cc = compiler()
    if cc is None:
        model = read(content)
        if recipe.weights == "int16":
            model = with_rounded_constants(model)
        yield NumpyOperators(name="C", model=model), NO_COMPILER
        return
    with compiled(source.files, (*trained.targets, T2, Q), cc) as program:
        yield program, f"{version_of(cc)}, {' '.join(FLAGS)}"


def status_differences(runtime: Runtime, trained: StoredRun) -> tuple[int, int]:
    """Number of test scans with another status than in Keras, and of those near a limit among them."""
    received, limits = runtime.run(b"", trained.test_scans), trained.limits
    received_status, expected_status = (
        status({target: outputs[target] for target in trained.targets}, outputs[T2], outputs[Q], limits)
        for outputs in (received, dict[str, Any](trained.test_outputs))
    )
    differs = received_status != expected_status
    near = is_near_limit(trained.test_outputs, limits)
    return int(differs.sum()), int((differs & near).sum())


def is_near_limit(outputs: Mapping[str, Any], limits: Limits) -> npt.NDArray[np.bool_]:
    """Whether T2 or Q of each scan (n,) is within LIMIT_MARGIN of its limit."""
    nearness = [np.abs(outputs[name] / limit - 1) for name, limit in ((T2, limits.t2), (Q, limits.q))]
    near: npt.NDArray[np.bool_] = np.minimum(*nearness) <= LIMIT_MARGIN
    return near


def status_exceeded(verified: CVerification) -> str | None:
    """None, or one line if the status of a scan differs that is not near a limit."""
    beyond = verified.other_status - verified.other_status_near_limit
    if not beyond:
        return None
    return (
        f"{verified.verification.recipe}: {beyond} test scans have another status than in Keras, though T2 and Q are "
        f"more than {LIMIT_MARGIN:.0%} from their limits"
    )
