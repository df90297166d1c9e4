"""From a run to a .tflite, in a child process: the converter segfaults on some graphs, and the parent must survive.

A file is joined from two conversions. The shell holds the front end, the views, the domain statistics T2 and Q, the
kernel regression and the inverse target scaling: Keras 3 layers, always float32. The core is the network on tf_keras,
with the weights and activations of the recipe. So an 8-bit network never reads a raw spectrum, and T2 and Q are float
in every file.

Each file has one signature, `serving_default`: input "spectrum" (1, bands) float32; outputs named like the targets
(laboratory units), "T2" and "Q", each (1, 1) float32.
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
"""The network's predictions for all targets, in standard deviations."""

T2, Q = "T2", "Q"
"""As in `relple_tf.models.deployed`, which imports Keras."""

ERROR_MARK = "relple_tf: "
"""Prefix of the line in which a child reports its error."""


class ConversionError(InputError):
    """A conversion failed; the message is one line with the recipe and the cause."""


def convert(trained_folder: Path, recipe: Recipe, out_file: Path, limit_s: float) -> None:
    """Convert a finished run by a recipe.

    Args:
        trained_folder: A run folder.
        recipe: The recipe.
        out_file: The .tflite; written completely or not at all.
        limit_s: Seconds after which the child is killed.

    Raises:
        ConversionError: the conversion failed, crashed or took too long, or its result holds an operator that no device
            computes correctly.
        InputError: the folder is not a finished run, or its data are missing or were changed.
    """
    job = {"folder": str(trained_folder), "recipe": asdict(recipe), "out": str(out_file)}
    run_child([sys.executable, "-m", "export.convert.conversion", json.dumps(job)], f"recipe {recipe.name}", limit_s)


def run_child(command: list[str], name: str, limit_s: float) -> None:
    """Run a command in a new session, so that killing the session also kills the processes that it started.

    Args:
        command: Program and arguments. If it calls `main_of_child`, it ends with this process, also when this process
            is killed, and it reports its error.
        name: What the command does, for the error message.
        limit_s: Seconds after which it is killed.

    Raises:
        ConversionError: the command failed, was killed by a signal or took too long.
        InputError: the command reported that its input is wrong.
        OSError: the command could not write its result.
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
        raise ConversionError(f"{name}: no result after {limit_s:g} s; leave it out of --recipes") from None
    finally:
        # Also after Ctrl-C, which would otherwise leave the child running.
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    if child.returncode:
        raise _failure(name, child.returncode, output.decode(errors="replace"))


def _failure(name: str, code: int, output: str) -> InputError | OSError:
    lines = [line for line in output.splitlines() if line.strip()]
    reports = [json.loads(line.removeprefix(ERROR_MARK)) for line in lines if line.startswith(ERROR_MARK)]
    if reports and reports[-1].get("errno"):
        return OSError(reports[-1]["errno"], os.strerror(reports[-1]["errno"]), reports[-1]["filename"])
    if reports and reports[-1]["of_input"]:
        return InputError(reports[-1]["message"])
    if reports:
        cause = reports[-1]["message"]
    elif code < 0:
        cause = f"the converter crashed with {signal.Signals(-code).name}"
    else:
        cause = lines[-1] if lines else f"exit code {code}"
    return ConversionError(f"{name}: {cause}")


def main(job: dict[str, Any]) -> None:
    """Convert in the child process."""
    from export.bundling.stored_run import load

    recipe = Recipe(**job["recipe"] | {"compression": tuple(job["recipe"]["compression"])})
    write_bytes(Path(job["out"]), recipe_file(load(Path(job["folder"])), recipe))


def recipe_file(trained: "StoredRun", recipe: Recipe) -> bytes:
    """Convert by a recipe in this process, to the bytes of a .tflite.

    Raises:
        InputError: the result holds an operator that no device computes correctly.
    """
    from export.convert.flatbuffer import compacted, inserted, packed, parse
    from export.convert.operators import audit
    from export.convert.quantise import network_for

    network = network_for(trained, recipe)
    model = inserted(parse(shell_file(trained)), parse(network_file(trained, network, recipe)))
    content = packed(compacted(model))
    audit(content)
    return content


def shell_file(trained: "StoredRun") -> bytes:
    """Convert everything but the network: scan -> features, scores, T2, Q; the network's output -> laboratory units."""
    import tensorflow as tf

    from relple_tf.models.deployed import GUARD, adapted, per_target
    from relple_tf.models.views import view_name

    @tf.function(  # type: ignore[untyped-decorator]
        autograph=False,
        input_signature=[_spec(SPECTRUM, trained.train_scans.shape[1]), _spec(MODELLED, len(trained.targets))],
    )
    def shell(spectrum: Any, modelled: Any) -> dict[str, Any]:
        absorbance, layer = trained.absorbance_stage(spectrum), trained.model.get_layer(GUARD)

        def guard(outputs: Any) -> Any:
            """Replace the outputs of an impossible scan by NaN."""
            return layer((absorbance, outputs))

        features = trained.channel_stage(absorbance)
        bands, scores = trained.projections(features)
        t2, q = trained.domain_statistics((bands, scores[0]))
        stacked, q = trained.kernels(modelled, scores, absorbance, q)
        stacked = adapted(stacked, scores, trained.local)
        return {
            FEATURES: features,
            T2: guard(t2),
            Q: guard(q),
            **per_target(guard(trained.target_scaling(stacked)), trained.targets),
            **{view_name(view): view_scores for view, view_scores in enumerate(scores)},
        }

    return converted(shell, trained.model.variables)


def network_file(trained: "StoredRun", network: Any, recipe: Recipe) -> bytes:
    """Convert a tf_keras network without its views: features and scores of each view -> MODELLED (1, targets)."""
    import tensorflow as tf

    from export.convert.converter_adapter import int16_operators
    from export.convert.quantise import representative_features
    from export.convert.twin import after_views
    from relple_tf.models.views import view_name

    spec, predict = trained.spec, after_views(network)
    names = [view_name(view) for view in range(len(spec.views))]

    @tf.function(  # type: ignore[untyped-decorator]
        autograph=False,
        input_signature=[
            _spec(FEATURES, spec.bands, spec.channels),
            *(_spec(name, spec.components) for name in names),
        ],
    )
    def core(features: Any, *scores: Any) -> Any:
        modelled = predict([features, *scores], training=False)
        return {MODELLED: tf.concat([modelled[target] for target in spec.targets], axis=1)}

    def representative() -> Iterator[dict[str, Any]]:
        features = representative_features(trained)
        _, scores = trained.projections(features)
        inputs = [np.asarray(values) for values in (features, *scores)]
        for row in range(len(features)):
            yield {name: values[row : row + 1] for name, values in zip([FEATURES, *names], inputs, strict=True)}

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


def converted(function: Any, variables: Any, configure: Any = None) -> bytes:
    """Convert a tf.function to a .tflite of builtin operators; `configure` sets what differs from float32."""
    import tensorflow as tf

    # A module with the variables alone: the converter saves and loads the whole module, and with the model it takes ten
    # times as long.
    module = tf.Module()
    # Keras 3 wraps a TensorFlow variable; tf_keras does not.
    module.captured = [variable if isinstance(variable, tf.Variable) else variable.value for variable in variables]
    module.function = function
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
    if configure is not None:
        configure(converter)
    return bytes(converter.convert())


def _spec(name: str, *shape: int) -> Any:
    import tensorflow as tf

    return tf.TensorSpec((1, *shape), tf.float32, name=name)


def main_of_child(do: Callable[[dict[str, Any]], None]) -> None:
    """Call `do` with the job from the command line; report an error in one line, which `run_child` reads."""
    end_with_parent()
    try:
        do(json.loads(sys.argv[1]))
    except Exception as error:
        first_line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        report = {"of_input": isinstance(error, InputError), "message": f"{type(error).__name__}: {first_line}"}
        if isinstance(error, InputError):
            report["message"] = first_line
        elif isinstance(error, OSError):
            report |= {"errno": error.errno, "filename": error.filename}
        print("\n" + ERROR_MARK + json.dumps(report), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main_of_child(main)
