"""The float parts of a device as plain C99: front end, applicability domain, laboratory units.

For a device whose network reads int8 features. No allocation, no global state, only math.h and string.h. The
arithmetic is the layers' own (`relple_tf.models`); tables are float32, as the layers' constants are.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from relple_tf.spectra.library import ABSORBANCE_RANGE, FLATTEST_ABSORBANCE, REFLECTANCE_FLOOR, REFLECTANCE_RANGE

Floats = npt.NDArray[np.float32]

NOTICE = "/* Made by python -m export.bundle of relple_tf (Apache-2.0); card.json beside it says from what. */\n"
PER_LINE = 8


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Domain:
    """The constants of `relple_tf.models.domain.Distances` and of the projection that it measures in."""

    channels: tuple[int, ...]
    """Channels of the first view, by number."""
    kernel: Floats
    """(components, bands of the view)."""
    bias: Floats
    """(components,)."""
    mean: Floats
    """(bands of the view,)."""
    inverse_sd: Floats
    """(components,)."""
    inverse_scale: Floats
    """(components,)."""
    neighbours: Floats
    """(n, components that neighbours are found in)."""
    closeness: Floats
    """(n,)."""
    limits: tuple[float, float]
    """Of T2 and Q."""

    @classmethod
    def of(cls, model: Any, card: Mapping[str, Any]) -> "Domain":
        """Take the constants from a run's graph and card."""
        network = model.get_layer(card["model"]["architecture"])
        kernel, bias = network.get_layer("view1").get_weights()
        distances = model.get_layer("distances")
        facts, limits = card["front_end"], card["domain"]["limits"]
        return cls(
            channels=tuple(facts["channels"].index(channel) for channel in facts["views"][0]),
            kernel=kernel.T,
            bias=bias,
            mean=np.asarray(distances.mean).reshape(-1),
            inverse_sd=np.asarray(distances.inverse_sd),
            inverse_scale=np.asarray(distances.inverse_scale),
            neighbours=np.asarray(distances.neighbours),
            closeness=np.asarray(distances.closeness),
            limits=(limits["T2"], limits["Q"]),
        )


def front_end(constants: FrontEnd) -> dict[str, str]:
    """front_end.h and front_end.c: a scan to the network's features, or why it is no scan."""
    low, high = REFLECTANCE_RANGE if constants.quantity == "reflectance" else ABSORBANCE_RANGE
    header = FRONT_END_H.format(
        bands=constants.bands,
        grid=len(constants.weights),
        feature_bands=len(constants.mean),
        channels=len(constants.kernels),
        quantity=constants.quantity,
        low=f"{low:g}",
        high=f"{high:g}",
    )
    tables = (
        f"#define NEIGHBOURS {constants.weights.shape[1]}\n"
        f"#define POINTS {constants.kernels.shape[1]}\n"
        f"#define LOWEST {literal(low)}\n"
        f"#define HIGHEST {literal(high)}\n"
        f"#define FLATTEST {literal(FLATTEST_ABSORBANCE)}\n"
        + table("unsigned short", "neighbour", constants.neighbours, "[SOIL_GRID][NEIGHBOURS]")
        + table("float", "weight", constants.weights, "[SOIL_GRID][NEIGHBOURS]")
        + table("float", "kernel", constants.kernels, "[SOIL_CHANNELS][POINTS]")
        + table("unsigned char", "of_snv", np.array(constants.of_snv, "uint8"), "[SOIL_CHANNELS]")
        + table("float", "mean", constants.mean, "[SOIL_FEATURE_BANDS][SOIL_CHANNELS]")
        + table("float", "inverse_sd", constants.inverse_sd, "[SOIL_FEATURE_BANDS][SOIL_CHANNELS]")
    )
    absorbance = ABSORBANCE_OF[constants.quantity].replace("FLOOR", literal(REFLECTANCE_FLOOR))
    code = FRONT_END_C.replace("TABLES\n", tables).replace("ABSORBANCE\n", absorbance)
    return {"front_end.h": NOTICE + header, "front_end.c": NOTICE + code}


def domain(constants: Domain) -> dict[str, str]:
    """domain.h and domain.c: features to T2, Q and whether to trust the estimates."""
    tables = (
        f"#define VIEW_CHANNELS {len(constants.channels)}\n"
        f"#define NEIGHBOURS {len(constants.neighbours)}\n"
        f"#define NEIGHBOUR_COMPONENTS {constants.neighbours.shape[1]}\n"
        f"#define LIMIT_T2 {literal(constants.limits[0])}\n"
        f"#define LIMIT_Q {literal(constants.limits[1])}\n"
        + table("unsigned char", "channel", np.array(constants.channels, "uint8"), "[VIEW_CHANNELS]")
        + table("float", "kernel", constants.kernel, "[SOIL_COMPONENTS][VIEW_CHANNELS * SOIL_FEATURE_BANDS]")
        + table("float", "bias", constants.bias, "[SOIL_COMPONENTS]")
        + table("float", "mean", constants.mean, "[VIEW_CHANNELS * SOIL_FEATURE_BANDS]")
        + table("float", "inverse_sd", constants.inverse_sd, "[SOIL_COMPONENTS]")
        + table("float", "inverse_scale", constants.inverse_scale, "[SOIL_COMPONENTS]")
        + table("float", "near", constants.neighbours, "[NEIGHBOURS][NEIGHBOUR_COMPONENTS]")
        + table("float", "closeness", constants.closeness, "[NEIGHBOURS]")
    )
    header = DOMAIN_H.format(components=len(constants.bias))
    return {"domain.h": NOTICE + header, "domain.c": NOTICE + DOMAIN_C.replace("TABLES\n", tables)}


def lab_units(scales: Sequence[Mapping[str, Any]], card: Mapping[str, Any]) -> dict[str, str]:
    """lab_units.h and lab_units.c: standard deviations to laboratory units, and intervals.

    Args:
        scales: Of each target, in the network's order: the fields of `relple_tf.models.lab_units.TargetScale`.
        card: Of the run; has the intervals.
    """
    numbers = "".join(f"#define {macro('TARGET', scale['name'])} {index}\n" for index, scale in enumerate(scales))
    rows = []
    for scale in scales:
        facts = card["targets"][scale["name"]]
        interval = facts["interval"] or {}
        half_width = interval.get("half_width")
        # The interval has a log1p of its own in Python, and it is the scale's.
        columns = [
            text_literal(scale["name"]),
            text_literal(facts["unit"]),
            *(str(int(scale[name])) for name in ("log1p", "non_negative")),
            *(literal(scale[name]) for name in ("mean", "sd", "low", "high")),
            literal(-1.0 if half_width is None else half_width),
            literal(interval.get("growth", 0.0)),
        ]
        rows.append("    {" + ", ".join(columns) + "}")
    header = LAB_UNITS_H.format(count=len(scales), numbers=numbers)
    return {"lab_units.h": NOTICE + header, "lab_units.c": NOTICE + LAB_UNITS_C.replace("ROWS", ",\n".join(rows))}


def literal(value: float) -> str:
    """A float32 constant that reads back to the same bits.

    Raises:
        ValueError: C has no constant for this number.
    """
    if not np.isfinite(np.float32(value)):
        raise ValueError(f"{value} is no C constant")
    return f"{np.float32(value)!s}f"


def text_literal(text: str) -> str:
    """A string constant of C99, which knows JSON's escapes."""
    return json.dumps(text)


def macro(*words: str) -> str:
    """SOIL_ and the words as a macro's name."""
    return re.sub(r"[^A-Z0-9]", "_", "_".join(("soil", *words)).upper())


def table(kind: str, name: str, values: npt.NDArray[Any], shape: str) -> str:
    """A constant array; of two dimensions with a brace per row, which -Wmissing-braces asks for."""
    words = [literal(value) if kind == "float" else str(int(value)) for value in values.ravel()]
    if values.ndim == 1:
        body = lines(words)
    else:
        width = values.shape[1]
        rows = (words[first : first + width] for first in range(0, len(words), width))
        body = ",\n".join("  {\n" + lines(row) + "\n  }" for row in rows)
    return f"static const {kind} {name}{shape} = {{\n{body}\n}};\n"


def lines(words: Sequence[str], per_line: int = PER_LINE) -> str:
    """Words separated by commas, some per line."""
    parts: Iterable[Sequence[str]] = (words[first : first + per_line] for first in range(0, len(words), per_line))
    return ",\n".join("    " + ", ".join(part) for part in parts)


ABSORBANCE_OF = {
    "reflectance": """\
static double absorbance(float reflectance)
{
    return -log10(reflectance > FLOOR ? reflectance : FLOOR);
}
""",
    "absorbance": """\
static double absorbance(float scan)
{
    return scan;
}
""",
}

FRONT_END_H = """\
#ifndef SOIL_FRONT_END_H
#define SOIL_FRONT_END_H

#ifdef __cplusplus
extern "C" {{
#endif

#define SOIL_BANDS {bands} /* values of a scan */
#define SOIL_GRID {grid} /* values of the work space */
#define SOIL_FEATURE_BANDS {feature_bands}
#define SOIL_CHANNELS {channels}

typedef enum {{
    SOIL_OK = 0,
    SOIL_OUTSIDE = 1, /* unlike the training soils: see domain.h */
    /* From here on a scan is invalid: there are no features, and no estimate may be shown. */
    SOIL_NOT_FINITE = 2,
    SOIL_OUT_OF_RANGE = 3,
    SOIL_FLAT = 4
}} soil_status;

/* Features of a scan, band by band, the channels of a band side by side: what the network reads, before it is
 * quantised. The scan is {quantity} within {low}..{high}, on the wavelengths that card.json lists. `work` is
 * overwritten; `features` are written only where SOIL_OK is returned. */
soil_status soil_front_end(const float scan[SOIL_BANDS], double work[SOIL_GRID],
                           float features[SOIL_FEATURE_BANDS * SOIL_CHANNELS]);

/* Whether a number is one: bits, so that -ffast-math cannot take it away. */
int soil_is_finite(float value);

#ifdef __cplusplus
}}
#endif

#endif
"""

FRONT_END_C = """\
#include "front_end.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

TABLES

int soil_is_finite(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
}

ABSORBANCE

soil_status soil_front_end(const float scan[SOIL_BANDS], double work[SOIL_GRID],
                           float features[SOIL_FEATURE_BANDS * SOIL_CHANNELS])
{
    int band, grid, channel, point;
    double lowest, highest, middle = 0.0, square = 0.0, sd;

    for (band = 0; band < SOIL_BANDS; ++band) {
        if (!soil_is_finite(scan[band])) {
            return SOIL_NOT_FINITE;
        }
        if (scan[band] < LOWEST || scan[band] > HIGHEST) {
            return SOIL_OUT_OF_RANGE;
        }
    }

    for (grid = 0; grid < SOIL_GRID; ++grid) {
        double value = 0.0;
        for (point = 0; point < NEIGHBOURS; ++point) {
            value += weight[grid][point] * absorbance(scan[neighbour[grid][point]]);
        }
        work[grid] = value;
    }

    lowest = highest = work[0];
    for (grid = 0; grid < SOIL_GRID; ++grid) {
        lowest = work[grid] < lowest ? work[grid] : lowest;
        highest = work[grid] > highest ? work[grid] : highest;
        middle += work[grid] / SOIL_GRID;
    }
    if (highest - lowest <= FLATTEST) {
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
                value += kernel[channel][point] * (work[band + point] - offset);
            }
            features[band * SOIL_CHANNELS + channel] =
                (float)((value / scale - mean[band][channel]) * inverse_sd[band][channel]);
        }
    }
    return SOIL_OK;
}
"""

DOMAIN_H = """\
#ifndef SOIL_DOMAIN_H
#define SOIL_DOMAIN_H

#include "front_end.h"

#ifdef __cplusplus
extern "C" {{
#endif

#define SOIL_COMPONENTS {components} /* values of the work space */

/* How far a scan lies from the training soils: Hotelling's T2 from their mean, Q from their plane and from each of
 * them. `work` is overwritten. */
void soil_distances(const float features[SOIL_FEATURE_BANDS * SOIL_CHANNELS], float work[SOIL_COMPONENTS], float *t2,
                    float *q);

/* SOIL_OK, SOIL_OUTSIDE where a distance is above its limit, SOIL_NOT_FINITE where one is no number. */
soil_status soil_trust(float t2, float q);

/* T2 as a distance in units of its limit, by which intervals grow. */
float soil_difficulty(float t2);

#ifdef __cplusplus
}}
#endif

#endif
"""

DOMAIN_C = """\
#include "domain.h"

#include <math.h>

TABLES

void soil_distances(const float features[SOIL_FEATURE_BANDS * SOIL_CHANNELS], float work[SOIL_COMPONENTS], float *t2,
                    float *q)
{
    int component, view, band, row;
    double whole = 0.0, within = 0.0, squares = 0.0, left;
    float nearest = 0.0f;

    for (view = 0; view < VIEW_CHANNELS; ++view) {
        for (band = 0; band < SOIL_FEATURE_BANDS; ++band) {
            const float centred =
                features[band * SOIL_CHANNELS + channel[view]] - mean[view * SOIL_FEATURE_BANDS + band];
            whole += (double)centred * centred;
        }
    }
    for (component = 0; component < SOIL_COMPONENTS; ++component) {
        float score = bias[component], plain, scaled;
        for (view = 0; view < VIEW_CHANNELS; ++view) {
            for (band = 0; band < SOIL_FEATURE_BANDS; ++band) {
                score += kernel[component][view * SOIL_FEATURE_BANDS + band] *
                         features[band * SOIL_CHANNELS + channel[view]];
            }
        }
        scaled = score * inverse_sd[component];
        plain = score * inverse_scale[component];
        squares += (double)scaled * scaled;
        within += (double)plain * plain;
        work[component] = plain;
    }
    for (row = 0; row < NEIGHBOURS; ++row) {
        float apart = 0.0f;
        for (component = 0; component < NEIGHBOUR_COMPONENTS; ++component) {
            const float offset = work[component] - near[row][component];
            apart += offset * offset;
        }
        apart *= closeness[row];
        nearest = row == 0 || apart < nearest ? apart : nearest;
    }
    nearest *= nearest;
    nearest *= nearest;
    left = fabs(whole - within);
    *t2 = (float)squares;
    *q = (float)(left > nearest ? left : nearest);
}

soil_status soil_trust(float t2, float q)
{
    if (!soil_is_finite(t2) || !soil_is_finite(q)) {
        return SOIL_NOT_FINITE;
    }
    return t2 <= LIMIT_T2 && q <= LIMIT_Q ? SOIL_OK : SOIL_OUTSIDE;
}

float soil_difficulty(float t2)
{
    return sqrtf(t2 / LIMIT_T2);
}
"""

LAB_UNITS_H = """\
#ifndef SOIL_LAB_UNITS_H
#define SOIL_LAB_UNITS_H

#ifdef __cplusplus
extern "C" {{
#endif

#define SOIL_TARGETS {count}
{numbers}
/* Names carry their unit, which is there alone, too; pH and names without one have an empty one. */
const char *soil_target_name(int target);
const char *soil_target_unit(int target);

/* From standard deviations, which the network gives, to laboratory units. */
float soil_to_lab(int target, float modelled);

/* The range that holds the laboratory value in as many soils as card.json says; `difficulty` is soil_difficulty's.
 * Returns 0 where there is none: then nothing is written, and a value must be shown as one without a range. */
int soil_interval(int target, float value, float difficulty, float *low, float *high);

#ifdef __cplusplus
}}
#endif

#endif
"""

LAB_UNITS_C = """\
#include "lab_units.h"

#include <math.h>

static const struct {
    const char *name;
    const char *unit;
    int log1p;
    int non_negative;
    float mean;
    float sd;
    float low;
    float high;
    float half_width; /* below 0: there is none */
    float growth;
} targets[SOIL_TARGETS] = {
ROWS
};

const char *soil_target_name(int target)
{
    return targets[target].name;
}

const char *soil_target_unit(int target)
{
    return targets[target].unit;
}

static float from_modelled(int target, float value)
{
    if (targets[target].log1p) {
        value = expm1f(value);
    }
    return targets[target].non_negative && value < 0.0f ? 0.0f : value;
}

float soil_to_lab(int target, float modelled)
{
    /* Clipped before expm1, because one wild logarithm is an astronomical concentration. */
    if (modelled < targets[target].low) {
        modelled = targets[target].low;
    }
    if (modelled > targets[target].high) {
        modelled = targets[target].high;
    }
    return from_modelled(target, modelled * targets[target].sd + targets[target].mean);
}

int soil_interval(int target, float value, float difficulty, float *low, float *high)
{
    const float centre = targets[target].log1p ? log1pf(value) : value;
    const float reach = targets[target].half_width * (1.0f + targets[target].growth * difficulty);
    if (targets[target].half_width < 0.0f) {
        return 0;
    }
    *low = from_modelled(target, centre - reach);
    *high = from_modelled(target, centre + reach);
    return 1;
}
"""
