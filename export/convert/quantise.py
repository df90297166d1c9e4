"""Preparation of quantisation: the network of a recipe, representative scans, and the error of each operator."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from export.convert.flatbuffer import operators, parse
from export.convert.twin import twin
from export.recipes import Recipe
from relple_tf.prediction.litert import LiteRtModel
from relple_tf.spectra.library import SpectralLibrary
from relple_tf.spectra.splitting.distance_order import MOST_DISTANCE_GROUPS, distance_order

if TYPE_CHECKING:
    from export.bundling.stored_run import Floats, StoredRun

REPRESENTATIVE_SCANS = 200
"""Number of training scans that set the quantisation ranges."""

STRETCH = 1.5
"""Factor by which the scans with extreme predictions are moved away from the mean, to widen the ranges."""


def network_for(trained: "StoredRun", recipe: Recipe) -> Any:
    """Build the tf_keras network of a recipe, compressed if the recipe asks for it.

    Raises:
        InputError: the recipe names an unknown compression.
    """
    if recipe.compression:
        # Imports TFMOT, which changes the process: only a child process may do so.
        from export.convert.compress import compressed

        return compressed(trained, recipe.compression, recipe.lstm_form)
    return twin(trained.network, trained.config.model, trained.spec, lstm_form=recipe.lstm_form)


def representative_features(trained: "StoredRun") -> "Floats":
    """Features (n, bands, channels) of REPRESENTATIVE_SCANS training scans that span the training part.

    For each target, also the features of the scans with the lowest and the highest prediction, times STRETCH: features
    are standardised, so this moves them away from the mean. A new soil may lie outside the range of all training soils,
    and an 8-bit tensor clips values outside its range; a wider range only makes its steps slightly coarser.
    """
    features = trained.library_features(trained.train_scans[representative_rows(trained)])
    extreme = trained.library_features(trained.train_scans[extreme_rows(trained)])
    return np.concatenate([features, STRETCH * extreme])


def extreme_rows(trained: "StoredRun") -> Any:
    """Training rows with the lowest and the highest prediction of each target, two per target."""
    outputs = trained.outputs(trained.train_scans)
    return np.array([pick(outputs[target]) for target in trained.targets for pick in (np.argmin, np.argmax)])


def representative_rows(trained: "StoredRun", count: int = REPRESENTATIVE_SCANS) -> Any:
    """Training rows in Kennard-Stone order, at most `count`, from a random sample of MOST_DISTANCE_GROUPS rows."""
    total = len(trained.train_scans)
    sample = np.random.default_rng(0).permutation(total)[:MOST_DISTANCE_GROUPS]
    library = SpectralLibrary(
        source=trained.card["source"],
        spectra=trained.train_scans[sample],
        wavelengths_nm=np.array(trained.card["input"]["wavelengths_nm"]),
        quantity=trained.card["input"]["quantity"],
        targets={},
        ids=trained.train_ids[sample],
    )
    return sample[distance_order(library, np.arange(len(sample)), with_targets=False)[:count]]


def layer_errors(exact: bytes, rounded: bytes, rows: "Mapping[str, Floats]") -> dict[str, float]:
    """Quantisation error after each operator, to find where accuracy is lost.

    Args:
        exact: A float32 .tflite with named tensors, such as from `conversion.network_file`.
        rounded: The same network in 8 or 16 bits.
        rows: Input -> (n, ...).

    Returns:
        Name of the tensor -> RMS difference divided by the SD of the exact tensor, in the order of execution, for
        tensors that both files have. The error accumulates: it includes the errors of all earlier operators.
    """
    exact_tensors, rounded_tensors = (_every_tensor(content, rows) for content in (exact, rounded))
    return {
        name: float(np.sqrt(np.mean((rounded_tensors[name] - values) ** 2)) / values.std())
        for name, values in exact_tensors.items()
        if name in rounded_tensors and rounded_tensors[name].shape == values.shape and values.std() > 0
    }


def _every_tensor(content: bytes, rows: "Mapping[str, Floats]") -> dict[str, npt.NDArray[np.float64]]:
    """Name -> (n, ...), the output of every operator, dequantised."""
    model = parse(content)
    indices = [int(operator.outputs[0]) for _, operator in operators(model)]
    outputs = LiteRtModel(content, resolver="BUILTIN_REF", keep_tensors=True).tensors(rows, indices)
    tensors = model.subgraphs[0].tensors
    return {tensors[index].name.decode(): _real(values, tensors[index]) for index, values in outputs.items()}


def _real(values: npt.NDArray[Any], tensor: Any) -> npt.NDArray[np.float64]:
    wide = values.astype(np.float64)
    if tensor.quantization is None or tensor.quantization.scale is None:
        return wide
    zero, scale = tensor.quantization.zeroPoint[0], tensor.quantization.scale[0]
    real: npt.NDArray[np.float64] = (wide - zero) * scale
    return real
