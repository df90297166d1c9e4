"""The front end of a device as plain C99: a scan to the network's features, or why it is no scan.

For a device whose network reads int8 features. The arithmetic is the layers' own (`relple_tf.models.front_end`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from export.c.source import NOTICE, Floats, Table, literal
from relple_tf.spectra.library import FLATTEST_ABSORBANCE, REFLECTANCE_FLOOR


@dataclass(frozen=True, kw_only=True, eq=False)
class FrontEnd:
    """The constants of the front end, taken from the trained graph's own layers."""

    quantity: str
    """What a scan is; one of QUANTITIES."""
    bands: int
    """Values of a scan."""
    neighbours: npt.NDArray[np.int32]
    """(grid, n) scan bands that each band of the grid is made of."""
    weights: Floats
    """(grid, n), likewise."""
    kernels: Floats
    """(channels, points): what each channel's window is multiplied by; a one in the middle for a plain channel."""
    of_snv: tuple[bool, ...]
    """Whether each channel is computed from the standard normal variate."""
    mean: Floats
    """(feature bands, channels)."""
    inverse_sd: Floats
    """(feature bands, channels)."""

    @classmethod
    def of(cls, model: Any, card: Mapping[str, Any]) -> "FrontEnd":
        """Take the constants from a run's graph and card."""
        before, after = model.get_layer("absorbance_stage"), model.get_layer("channel_stage")
        bands, grid = before.input.shape[1], before.output.shape[1]
        resample = [layer for layer in before.layers if layer.name == "resample"]
        if resample:
            neighbours, weights = resample[0]._bands, resample[0]._weights
        else:
            neighbours, weights = np.arange(grid, dtype="int32")[:, None], np.ones((grid, 1), "float32")
        standardise = after.get_layer("standardise")
        mean, inverse_sd = (np.asarray(weight) for weight in (standardise.mean, standardise.inverse_sd))
        channels = card["front_end"]["channels"]
        kernels = np.zeros((len(channels), grid - len(mean) + 1), "float32")
        for kernel, channel in zip(kernels, channels, strict=True):
            if channel[-1].isdigit():
                kernel[:] = after.get_layer(f"channel_{channel}")._kernel[:, 0, 0]
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
        """What front_end.c has in flash, in its order."""
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
        """The front end in double precision: scans (n, bands) -> (n, feature bands, channels).

        Derivatives of smooth spectra are small differences of large numbers, so the layers' float32 is right to some
        1e-4 of a band's SD only. What a device computes is measured against this, and so are the layers.
        """
        wide: npt.NDArray[Any] = scans.astype("float64")
        if self.quantity == "reflectance":
            wide = -np.log10(np.maximum(wide, REFLECTANCE_FLOOR))
        absorbance = np.sum(wide[:, self.neighbours] * self.weights, axis=2)
        snv = (absorbance - absorbance.mean(axis=1, keepdims=True)) / absorbance.std(axis=1, keepdims=True)
        windows = [sliding_window_view(rows, self.kernels.shape[1], axis=1) for rows in (absorbance, snv)]
        channels = [
            windows[of_snv] @ kernel.astype("float64") for kernel, of_snv in zip(self.kernels, self.of_snv, strict=True)
        ]
        found: npt.NDArray[np.floating[Any]] = (np.stack(channels, axis=2) - self.mean) * self.inverse_sd
        return found


def front_end(constants: FrontEnd) -> dict[str, str]:
    """front_end.h and front_end.c: a scan to the network's features, or why it is no scan."""
    header = FRONT_END_H.format(
        grid=len(constants.weights), feature_bands=len(constants.mean), channels=len(constants.kernels)
    )
    tables = "".join(table.text() for table in constants.tables())
    definitions = (
        f"#define NEIGHBOURS {constants.weights.shape[1]}\n"
        f"#define POINTS {constants.kernels.shape[1]}\n"
        f"#define FLATTEST {literal(FLATTEST_ABSORBANCE)}\n"
        f"{tables}"
    )
    code = FRONT_END_C.replace("TABLES\n", definitions)
    return {"front_end.h": NOTICE + header, "front_end.c": NOTICE + code}


FRONT_END_H = """\
#ifndef SOIL_FRONT_END_H
#define SOIL_FRONT_END_H

#include "scan.h"

#ifdef __cplusplus
extern "C" {{
#endif

#define SOIL_GRID {grid} /* values of the work space */
#define SOIL_FEATURE_BANDS {feature_bands}
#define SOIL_CHANNELS {channels}

/* Features of a scan, band by band, the channels of a band side by side: what a core reads, before it is quantised.
 * Checks the scan as soil_check does. In double precision: derivatives are small differences of large numbers. `work`
 * is overwritten; `features` are written only where SOIL_OK is returned. */
soil_status soil_front_end(const float scan[SOIL_BANDS], double work[SOIL_GRID],
                           float features[SOIL_FEATURE_BANDS * SOIL_CHANNELS]);

#ifdef __cplusplus
}}
#endif

#endif
"""

FRONT_END_C = """\
#include "front_end.h"

#include <math.h>

TABLES

soil_status soil_front_end(const float scan[SOIL_BANDS], double work[SOIL_GRID],
                           float features[SOIL_FEATURE_BANDS * SOIL_CHANNELS])
{
    const soil_status checked = soil_check(scan);
    int band, grid, channel, point;
    double lowest, highest, middle = 0.0, square = 0.0, sd;

    if (checked != SOIL_OK) {
        return checked;
    }

    for (grid = 0; grid < SOIL_GRID; ++grid) {
        double value = 0.0;
        for (point = 0; point < NEIGHBOURS; ++point) {
            value += (double)weight[grid][point] * soil_absorbance(scan[neighbour[grid][point]]);
        }
        work[grid] = value;
    }

    lowest = highest = work[0];
    for (grid = 0; grid < SOIL_GRID; ++grid) {
        lowest = work[grid] < lowest ? work[grid] : lowest;
        highest = work[grid] > highest ? work[grid] : highest;
        middle += work[grid] / SOIL_GRID;
    }
    /* Again, for averaging may have levelled it. */
    if (highest - lowest <= (double)FLATTEST) {
        return SOIL_FLAT;
    }
    for (grid = 0; grid < SOIL_GRID; ++grid) {
        square += (work[grid] - middle) * (work[grid] - middle);
    }
    sd = sqrt(square / SOIL_GRID);

    for (band = 0; band < SOIL_FEATURE_BANDS; ++band) {
        for (channel = 0; channel < SOIL_CHANNELS; ++channel) {
            const double offset = of_snv[channel] ? middle : 0.0;
            const double scale = of_snv[channel] ? sd : 1.0;
            double value = 0.0;
            for (point = 0; point < POINTS; ++point) {
                value += (double)kernel[channel][point] * (work[band + point] - offset);
            }
            features[band * SOIL_CHANNELS + channel] =
                (float)((value / scale - (double)mean[band][channel]) * (double)inverse_sd[band][channel]);
        }
    }
    return SOIL_OK;
}
"""
