"""The applicability domain of a device as plain C99: a scan's distances from the training soils.

For a device whose network reads int8 features. The arithmetic is the layers' own (`relple_tf.models.domain`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.c.source import NOTICE, Floats, Table
from relple_tf.models.views import view_name


@dataclass(frozen=True, kw_only=True, eq=False)
class Domain:
    """The constants of `relple_tf.models.domain.DomainStatistics` and of the projection that it measures in."""

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

    @classmethod
    def of(cls, model: Any, card: Mapping[str, Any]) -> "Domain":
        """Take the constants from a run's graph and card."""
        network = model.get_layer(card["model"]["architecture"])
        kernel, bias = network.get_layer(view_name(0)).get_weights()
        distances = model.get_layer("domain_statistics")
        facts = card["front_end"]
        return cls(
            channels=tuple(facts["channels"].index(channel) for channel in facts["views"][0]),
            kernel=kernel.T,
            bias=bias,
            mean=np.asarray(distances.mean).reshape(-1),
            inverse_sd=np.asarray(distances.inverse_sd),
            inverse_scale=np.asarray(distances.inverse_scale),
            neighbours=np.asarray(distances.neighbours),
            closeness=np.asarray(distances.closeness),
        )

    def tables(self) -> tuple[Table, ...]:
        """What domain.c has in flash, in its order."""
        projection, components = "[SOIL_COMPONENTS][VIEW_CHANNELS * SOIL_FEATURE_BANDS]", "[SOIL_COMPONENTS]"
        near = "[NEIGHBOURS][NEIGHBOUR_COMPONENTS]"
        return (
            Table(kind="unsigned char", name="channel", shape="[VIEW_CHANNELS]", values=np.array(self.channels)),
            Table(kind="float", name="kernel", shape=projection, values=self.kernel),
            Table(kind="float", name="bias", shape=components, values=self.bias),
            Table(kind="float", name="mean", shape="[VIEW_CHANNELS * SOIL_FEATURE_BANDS]", values=self.mean),
            Table(kind="float", name="inverse_sd", shape=components, values=self.inverse_sd),
            Table(kind="float", name="inverse_scale", shape=components, values=self.inverse_scale),
            Table(kind="float", name="landmark", shape=near, values=self.neighbours),
            Table(kind="float", name="closeness", shape="[NEIGHBOURS]", values=self.closeness),
        )


def domain(constants: Domain) -> dict[str, str]:
    """domain.h and domain.c: features to T2, Q and whether to trust the estimates."""
    tables = "".join(table.text() for table in constants.tables())
    definitions = (
        f"#define VIEW_CHANNELS {len(constants.channels)}\n"
        f"#define NEIGHBOURS {len(constants.neighbours)}\n"
        f"#define NEIGHBOUR_COMPONENTS {constants.neighbours.shape[1]}\n"
        f"{tables}"
    )
    header = DOMAIN_H.format(components=len(constants.bias))
    return {"domain.h": NOTICE + header, "domain.c": NOTICE + DOMAIN_C.replace("TABLES\n", definitions)}


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
            whole += (double)centred * (double)centred;
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
        squares += (double)scaled * (double)scaled;
        within += (double)plain * (double)plain;
        work[component] = plain;
    }
    for (row = 0; row < NEIGHBOURS; ++row) {
        float apart = 0.0f;
        for (component = 0; component < NEIGHBOUR_COMPONENTS; ++component) {
            const float offset = work[component] - landmark[row][component];
            apart += offset * offset;
        }
        apart *= closeness[row];
        nearest = row == 0 || apart < nearest ? apart : nearest;
    }
    nearest *= nearest;
    nearest *= nearest;
    left = fabs(whole - within);
    *t2 = (float)squares;
    *q = left > (double)nearest ? (float)left : nearest;
}
"""
