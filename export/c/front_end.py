"""The front end as C99, for a device whose network reads int8 features: a scan to the features of the network.

The C code computes as the layers in `relple_tf.models.front_end` do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from export.c.source import Floats, Table, fill, literal
from relple_tf.spectra.library import FLATTEST_ABSORBANCE, REFLECTANCE_FLOOR


@dataclass(frozen=True, kw_only=True, eq=False)
class FrontEnd:
    """Constants of the front end, read from the layers of a trained model."""

    quantity: str
    """Quantity of a scan, from QUANTITIES."""
    bands: int
    """Number of values in a scan."""
    neighbours: npt.NDArray[np.int32]
    """(grid, n): indices of the scan bands that each grid band is interpolated from."""
    weights: Floats
    """(grid, n): weights of these scan bands."""
    kernels: Floats
    """(channels, points): filter of each channel; without a derivative, 1 in the middle and 0 elsewhere."""
    of_snv: tuple[bool, ...]
    """For each channel: whether it is computed from the standard normal variate (SNV)."""
    mean: Floats
    """(feature bands, channels)."""
    inverse_sd: Floats
    """(feature bands, channels)."""

    @classmethod
    def of(cls, model: Any, card: Mapping[str, Any]) -> "FrontEnd":
        """Read the constants from the deployed model of a run and from its card."""
        absorbance_stage, channel_stage = model.get_layer("absorbance_stage"), model.get_layer("channel_stage")
        bands, grid = absorbance_stage.input.shape[1], absorbance_stage.output.shape[1]
        resample = [layer for layer in absorbance_stage.layers if layer.name == "resample"]
        if resample:
            neighbours, weights = resample[0]._bands, resample[0]._weights
        else:
            neighbours, weights = np.arange(grid, dtype="int32")[:, None], np.ones((grid, 1), "float32")
        standardise = channel_stage.get_layer("standardise")
        mean, inverse_sd = (np.asarray(weight) for weight in (standardise.mean, standardise.inverse_sd))
        channels = card["front_end"]["channels"]
        kernels = np.zeros((len(channels), grid - len(mean) + 1), "float32")
        for kernel, channel in zip(kernels, channels, strict=True):
            if channel[-1].isdigit():
                kernel[:] = channel_stage.get_layer(f"channel_{channel}")._kernel[:, 0, 0]
            else:
                kernel[len(kernel) // 2] = 1
        return cls(
            quantity=card["input"]["quantity"],
            bands=bands,
            neighbours=neighbours,
            weights=weights,
            kernels=kernels,
            of_snv=tuple(channel.startswith("snv") for channel in channels),
            mean=mean,
            inverse_sd=inverse_sd,
        )

    def tables(self) -> tuple[Table, ...]:
        """The constant arrays of front_end.c, in its order."""
        grid, features = "[SOIL_GRID][NEIGHBOURS]", "[SOIL_FEATURE_BANDS][SOIL_CHANNELS]"
        return (
            Table(kind="unsigned short", name="neighbour", shape=grid, values=self.neighbours),
            Table(kind="float", name="weight", shape=grid, values=self.weights),
            Table(kind="float", name="kernel", shape="[SOIL_CHANNELS][POINTS]", values=self.kernels),
            Table(kind="unsigned char", name="of_snv", shape="[SOIL_CHANNELS]", values=np.array(self.of_snv)),
            Table(kind="float", name="mean", shape=features, values=self.mean),
            Table(kind="float", name="inverse_sd", shape=features, values=self.inverse_sd),
        )

    def features(self, scans: Floats) -> npt.NDArray[np.floating[Any]]:
        """Compute the front end in double precision: scans (n, bands) -> (n, feature bands, channels).

        Derivatives of smooth spectra are small differences of large numbers, so the float32 of the layers has errors
        of about 1e-4 SD of a band. The outputs of devices and of the layers are compared with this reference.
        """
        values: npt.NDArray[Any] = scans.astype("float64")
        if self.quantity == "reflectance":
            values = -np.log10(np.maximum(values, REFLECTANCE_FLOOR))
        absorbance = np.sum(values[:, self.neighbours] * self.weights, axis=2)
        snv = (absorbance - absorbance.mean(axis=1, keepdims=True)) / absorbance.std(axis=1, keepdims=True)
        windows = [sliding_window_view(rows, self.kernels.shape[1], axis=1) for rows in (absorbance, snv)]
        channels = [
            windows[of_snv] @ kernel.astype("float64") for kernel, of_snv in zip(self.kernels, self.of_snv, strict=True)
        ]
        features: npt.NDArray[np.floating[Any]] = (np.stack(channels, axis=2) - self.mean) * self.inverse_sd
        return features


def front_end(constants: FrontEnd) -> dict[str, str]:
    """Write front_end.h and front_end.c: a scan to the network's features, or the status of an invalid scan."""
    header = fill(
        "front_end.h",
        grid=len(constants.weights),
        feature_bands=len(constants.mean),
        channels=len(constants.kernels),
    )
    code = fill(
        "front_end.c",
        neighbours=constants.weights.shape[1],
        points=constants.kernels.shape[1],
        flattest=literal(FLATTEST_ABSORBANCE),
        tables="\n".join(table.text() for table in constants.tables()),
    )
    return {"front_end.h": header, "front_end.c": code}
