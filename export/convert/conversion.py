"""From a run to a .tflite, in a child process: the converter segfaults on some graphs, and must not take us with it.

A file is joined from two conversions. The shell is the front end, the views, the distances, the kernel machines and
the conversion to laboratory units: Keras 3 layers, always float32. The core is the network, on tf_keras, as the recipe
wants it. So an 8-bit network never touches a raw spectrum, and T2 and Q are float in every file.

One signature, `serving_default`. A recipe that reads `scan`: input "spectrum" (1, bands) float32; outputs named like
the targets (laboratory units), "T2" and "Q", each (1, 1) float32. One that reads `features_int8`: input "features"
(1, bands, channels) int8; outputs named like the targets, (1, 1) int8, in standard deviations; scale and zero point
are those of the tensors. The front end's own file: "spectrum" -> "features" (1, bands, channels), "T2", "Q", all
float32.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.recipes import Recipe
from relple_tf.atomic_files import write_bytes
from relple_tf.errors import InputError
from relple_tf.parent_process import end_with_parent, environment

if TYPE_CHECKING:
    from export.bundling.stored_run import StoredRun

FEATURES = "features"
SPECTRUM = "spectrum"
MODELLED = "modelled"
"""What the network says of all targets, in standard deviations."""
FRONT_END = "front_end"
"""Names the front end's own file among recipes."""

FLOAT = "float32_part"
"""Begins the names of operators that an 8-bit core leaves in float32."""

T2, Q = "T2", "Q"
"""As in `relple_tf.models.target_scaling`, which imports Keras."""

MARK = "relple_tf: "
"""Begins the line by which a child says what went wrong."""


class ConversionError(InputError):
    """A recipe made no file; the message is one line that names the recipe and the cause."""


def convert(trained_folder: Path, recipe: Recipe, out_file: Path, limit_s: float) -> None:
    """Make the file of a recipe from a finished run.

    Args:
        trained_folder: A run folder.
        recipe: What to make.
        out_file: Written whole or not at all.
        limit_s: Seconds after which the child is killed.

    Raises:
        ConversionError: the conversion failed, crashed or took too long, or its result holds an operator that no device
            computes rightly.
        InputError: the folder is no finished run, or its data are missing or were changed.
    """
    _in_child({"folder": str(trained_folder), "recipe": asdict(recipe), "out": str(out_file)}, recipe.name, limit_s)


def convert_front_end(trained_folder: Path, out_file: Path, limit_s: float) -> None:
    """Make the front end's own float32 file, the companion of `int8_core`; arguments and errors as for `convert`."""
    _in_child({"folder": str(trained_folder), "recipe": None, "out": str(out_file)}, FRONT_END, limit_s)


def _in_child(job: dict[str, Any], name: str, limit_s: float) -> None:
    """Run this module on a job."""
    run_child([sys.executable, "-m", "export.convert.conversion", json.dumps(job)], f"recipe {name}", limit_s)


def run_child(command: list[str], name: str, limit_s: float) -> None:
    """Run a command in a session of its own, so that all that it starts ends with it.

    Args:
        command: What to run. By `main_of_child` it ends with this process, also where this one is killed, and says why
            it failed.
        name: What it does, for the message.
        limit_s: Seconds after which it is killed.

    Raises:
        ConversionError: it failed, was killed by a signal or took too long.
        InputError: it said that its input is wrong.
        OSError: it could not write its result.
    """
    root = str(Path(__file__).parents[2])
    variables = environment() | {
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        "PYTHONWARNINGS": "ignore",
    }
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=variables,
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise ConversionError(f"{name}: nothing after {limit_s:g} s; leave it out of --recipes") from None
    finally:
        # Ctrl-C ends here too, and would leave the child running.
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    if child.returncode:
        raise _failure(name, child.returncode, output.decode(errors="replace"))


def _failure(name: str, code: int, output: str) -> InputError | OSError:
    lines = [line for line in output.splitlines() if line.strip()]
    said = [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]
    if said and said[-1].get("errno"):
        return OSError(said[-1]["errno"], os.strerror(said[-1]["errno"]), said[-1]["filename"])
    if said and said[-1]["of_input"]:
        return InputError(said[-1]["message"])
    if said:
        cause = said[-1]["message"]
    elif code < 0:
        cause = f"the converter died of {signal.Signals(-code).name}"
    else:
        cause = lines[-1] if lines else f"exit code {code}"
    return ConversionError(f"{name}: {cause}")


def main(job: dict[str, Any]) -> None:
    """What the child does."""
    from export.bundling.stored_run import load

    trained = load(Path(job["folder"]))
    recipe = (
        None
        if job["recipe"] is None
        else Recipe(**job["recipe"] | {"compression": tuple(job["recipe"]["compression"])})
    )
    content = front_end_file(trained) if recipe is None else made(trained, recipe)
    write_bytes(Path(job["out"]), content)


def made(trained: "StoredRun", recipe: Recipe) -> bytes:
    """The .tflite of a recipe, in this process.

    Raises:
        InputError: the result holds an operator that no device computes rightly.
    """
    from export.convert.flatbuffer import compacted, inserted, packed, parse
    from export.convert.operators import audit
    from export.convert.quantise import network_for

    network = network_for(trained, recipe)
    if recipe.reads == "features_int8":
        model = parse(core_file(trained, network, recipe))
    else:
        model = inserted(parse(shell_file(trained)), parse(network_file(trained, network, recipe)))
    content = packed(compacted(model))
    audit(content)
    return content


def front_end_file(trained: "StoredRun") -> bytes:
    """Scan -> features, T2, Q, as a .tflite."""
    import tensorflow as tf

    from export.convert.flatbuffer import compacted, packed, parse

    @tf.function(autograph=False, input_signature=[_spec(SPECTRUM, trained.train_scans.shape[1])])  # type: ignore[untyped-decorator]
    def front_end(spectrum: Any) -> dict[str, Any]:
        return _front_end(trained, spectrum)[0]

    return packed(compacted(parse(converted(front_end, trained.model.variables))))


def _front_end(trained: "StoredRun", spectrum: Any) -> tuple[dict[str, Any], list[Any], Callable[[Any], Any]]:
    """Scan -> features, T2 and Q by name; the scores of each view; what makes outputs of an impossible scan NaN."""
    from relple_tf.models.front_end import InvalidIsNan

    absorbance, layer = trained.absorbance_stage(spectrum), InvalidIsNan(name="invalid_is_nan")

    def guard(outputs: Any) -> Any:
        return layer((absorbance, outputs))

    features = trained.channel_stage(absorbance)
    bands, scores = trained.near(features)
    t2, q = trained.domain_statistics((bands, scores[0]))
    return {FEATURES: features, T2: guard(t2), Q: guard(q)}, scores, guard


def shell_file(trained: "StoredRun") -> bytes:
    """All but the network: scan -> features, scores, T2, Q; and what the network says -> laboratory units."""
    import tensorflow as tf

    from relple_tf.models.deployed import per_target
    from relple_tf.models.views import view_name

    @tf.function(  # type: ignore[untyped-decorator]
        autograph=False,
        input_signature=[_spec(SPECTRUM, trained.train_scans.shape[1]), _spec(MODELLED, len(trained.targets))],
    )
    def shell(spectrum: Any, modelled: Any) -> dict[str, Any]:
        outputs, scores, guard = _front_end(trained, spectrum)
        outputs |= per_target(
            guard(trained.target_scaling(modelled + trained.kernel_regression(scores))), trained.targets
        )
        return outputs | {view_name(view): one for view, one in enumerate(scores)}

    return converted(shell, trained.model.variables)


def network_file(trained: "StoredRun", network: Any, recipe: Recipe) -> bytes:
    """A tf_keras network without its views: features and the scores of each view -> MODELLED (1, targets)."""
    import tensorflow as tf

    from export.convert.converter_adapter import int16_operators
    from export.convert.quantise import representative_features
    from export.convert.twin import behind_views
    from relple_tf.models.views import view_name

    spec, read = trained.spec, behind_views(network)
    names = [view_name(view) for view in range(len(spec.views))]

    @tf.function(  # type: ignore[untyped-decorator]
        autograph=False,
        input_signature=[
            _spec(FEATURES, spec.bands, spec.channels),
            *(_spec(name, spec.components) for name in names),
        ],
    )
    def core(features: Any, *scores: Any) -> Any:
        modelled = read([features, *scores], training=False)
        return {MODELLED: tf.concat([modelled[target] for target in spec.targets], axis=1)}

    def representative() -> Iterator[dict[str, Any]]:
        features = representative_features(trained)
        _, scores = trained.near(features)
        rows = [np.asarray(values) for values in (features, *scores)]
        for row in range(len(features)):
            yield {name: values[row : row + 1] for name, values in zip([FEATURES, *names], rows, strict=True)}

    def configure(converter: Any) -> None:
        if recipe.weights != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if recipe.weights == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if recipe.is_quantised:
            converter.representative_dataset = representative
            converter.target_spec.supported_ops = [
                int16_operators() if recipe.activations == "int16" else tf.lite.OpsSet.TFLITE_BUILTINS_INT8
            ]

    return converted(core, network.variables, configure)


def core_file(trained: "StoredRun", network: Any, recipe: Recipe) -> bytes:
    """Network and kernel machines, 8-bit features in, 8-bit standard deviations out.

    The kernel machines stay float within: with similarities of 8 bits, whose rounding their slopes blow up, R2 fell by
    0.2 to 3.7 (nano and base on NIRsoil).
    """
    import tensorflow as tf

    from export.convert.converter_adapter import only_calibrate, quantised_but
    from export.convert.quantise import representative_features
    from relple_tf.models.deployed import per_target, with_views

    spec, read = trained.spec, with_views(network)

    @tf.function(autograph=False, input_signature=[_spec(FEATURES, spec.bands, spec.channels)])  # type: ignore[untyped-decorator]
    def core(features: Any) -> dict[str, Any]:
        modelled, _, scores = read(features, training=False)
        with tf.name_scope(FLOAT):
            similar = per_target(trained.kernel_regression(scores), spec.targets)
        return {target: modelled[target] + similar[target] for target in spec.targets}

    def configure(converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        features = representative_features(trained)
        converter.representative_dataset = lambda: ({FEATURES: row[None]} for row in features)
        only_calibrate(converter)

    calibrated = converted(core, [*network.variables, *trained.kernel_regression.variables], configure)
    return quantised_but(calibrated, FLOAT)


def converted(function: Any, variables: Any, configure: Any = None) -> bytes:
    """A tf.function as a .tflite of builtin operators; `configure` sets what differs from float32."""
    import tensorflow as tf

    # Of the variables alone: the converter would save and load whatever else hangs on the model, which takes ten times
    # as long.
    held = tf.Module()
    held.captured = [one if isinstance(one, tf.Variable) else one.value for one in variables]  # Keras 3 wraps its own
    held.function = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], held)
    if configure is not None:
        configure(converter)
    return bytes(converter.convert())


def _spec(name: str, *shape: int) -> Any:
    import tensorflow as tf

    return tf.TensorSpec((1, *shape), tf.float32, name=name)


def main_of_child(do: Callable[[dict[str, Any]], None]) -> None:
    """Do the job that the command line holds; say in one line, which `run_child` reads, what went wrong."""
    end_with_parent()
    try:
        do(json.loads(sys.argv[1]))
    except Exception as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        facts = {"of_input": isinstance(error, InputError), "message": f"{type(error).__name__}: {first}"}
        if isinstance(error, InputError):
            facts["message"] = first
        elif isinstance(error, OSError):
            facts |= {"errno": error.errno, "filename": error.filename}
        print("\n" + MARK + json.dumps(facts), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main_of_child(main)
