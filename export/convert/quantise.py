"""What an 8-bit network needs before it is converted: representative soils, and components on one scale."""

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

REPRESENTATIVE = 200
"""Training scans that quantisation ranges are taken from."""


def network_for(trained: "StoredRun", recipe: Recipe) -> Any:
    """The tf_keras network that a recipe converts.

    Raises:
        InputError: the recipe names an unknown compression.
    """
    if recipe.compression:
        # Imports TFMOT, which changes the process: in a child only.
        from export.convert.compress import compressed

        return compressed(trained, recipe.compression, recipe.lstm_form)
    return twin(trained.network, trained.config.model, trained.spec, lstm_form=recipe.lstm_form)


STRETCH = 1.5
"""How much farther from the mean than the training soil of the highest or lowest estimate ranges reach."""


def representative_features(trained: "StoredRun") -> "Floats":
    """What the network reads of REPRESENTATIVE training scans that span the training part: (n, bands, channels).

    PlsrBaseline them, for each target, the scans of its lowest and highest estimate, STRETCH times as far from the mean
    (features are standardised): a new soil may lie beyond all training soils, and an 8-bit tensor cuts off what is
    beyond its range, while wider ranges only make its steps a little coarser.
    """
    features = trained.features(trained.train_scans[representative_rows(trained)])
    extreme = trained.features(trained.train_scans[extreme_rows(trained)])
    return np.concatenate([features, STRETCH * extreme])


def extreme_rows(trained: "StoredRun") -> Any:
    """Training rows with the lowest and the highest estimate of each target, two per target."""
    outputs = trained.outputs(trained.train_scans)
    return np.array([pick(outputs[target]) for target in trained.targets for pick in (np.argmin, np.argmax)])


def representative_rows(trained: "StoredRun", count: int = REPRESENTATIVE) -> Any:
    """Training rows in the order in which Kennard-Stone takes them, at most `count`; of many, a draw by seed."""
    total = len(trained.train_scans)
    drawn = np.random.default_rng(0).permutation(total)[:MOST_DISTANCE_GROUPS]
    library = SpectralLibrary(
        source=trained.card["source"],
        spectra=trained.train_scans[drawn],
        wavelengths_nm=np.array(trained.card["input"]["wavelengths_nm"]),
        quantity=trained.card["input"]["quantity"],
        targets={},
        ids=trained.train_ids[drawn],
    )
    return drawn[distance_order(library, np.arange(len(drawn)), with_targets=False)[:count]]


def layer_errors(exact: bytes, rounded: bytes, rows: "Mapping[str, Floats]") -> dict[str, float]:
    """What rounding costs, operator by operator: where a loss of accuracy begins.

    Args:
        exact: A float32 .tflite that still has the names of its tensors, such as `convert.network_file` gives.
        rounded: The same network in 8 or 16 bit.
        rows: Input -> (n, ...) of each.

    Returns:
        Name of the tensor, in the order of execution -> RMS difference over the SD of the exact one, for tensors that
        both files have. Errors are those that arrive there, not those that begin there.
    """
    own, other = (_every_tensor(content, rows) for content in (exact, rounded))
    return {
        name: float(np.sqrt(np.mean((other[name] - values) ** 2)) / values.std())
        for name, values in own.items()
        if name in other and other[name].shape == values.shape and values.std() > 0
    }


def _every_tensor(content: bytes, rows: "Mapping[str, Floats]") -> dict[str, npt.NDArray[np.float64]]:
    """Name -> (n, ...) of what every operator makes, integers turned into what they stand for."""
    model = parse(content)
    made = [int(operator.outputs[0]) for _, operator in operators(model)]
    found = LiteRtModel(content, resolver="BUILTIN_REF", keep_tensors=True).tensors(rows, made)
    tensors = model.subgraphs[0].tensors
    return {tensors[index].name.decode(): _real(values, tensors[index]) for index, values in found.items()}


def _real(values: npt.NDArray[Any], tensor: Any) -> npt.NDArray[np.float64]:
    wide = values.astype(np.float64)
    if tensor.quantization is None or tensor.quantization.scale is None:
        return wide
    zero, scale = tensor.quantization.zeroPoint[0], tensor.quantization.scale[0]
    real: npt.NDArray[np.float64] = (wide - zero) * scale
    return real
