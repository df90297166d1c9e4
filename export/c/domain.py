"""The domain statistics T2 and Q as C99, for a device whose network reads int8 features.

The C code computes as the layer in `relple_tf.models.domain` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.c.source import Floats, Table, fill
from relple_tf.models.views import view_name


@dataclass(frozen=True, kw_only=True, eq=False)
class Domain:
    """Constants of `relple_tf.models.domain.DomainStatistics` and of the projection of the first view."""

    channels: tuple[int, ...]
    """Indices of the channels in the first view."""
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
    """(n, components): scores of training soils, in the components used to find the nearest neighbour."""
    closeness: Floats
    """(n,)."""

    @classmethod
    def of(cls, model: Any, card: Mapping[str, Any]) -> "Domain":
        """Read the constants from the deployed model of a run and from its card."""
        network = model.get_layer(card["model"]["architecture"])
        kernel, bias = network.get_layer(view_name(0)).get_weights()
        statistics = model.get_layer("domain_statistics")
        facts = card["front_end"]
        return cls(
            channels=tuple(facts["channels"].index(channel) for channel in facts["views"][0]),
            kernel=kernel.T,
            bias=bias,
            mean=np.asarray(statistics.mean).reshape(-1),
            inverse_sd=np.asarray(statistics.inverse_sd),
            inverse_scale=np.asarray(statistics.inverse_scale),
            neighbours=np.asarray(statistics.neighbours),
            closeness=np.asarray(statistics.closeness),
        )

    def tables(self) -> tuple[Table, ...]:
        """The constant arrays of domain.c, in its order."""
        projection, components = "[SOIL_COMPONENTS][VIEW_CHANNELS * SOIL_FEATURE_BANDS]", "[SOIL_COMPONENTS]"
        neighbours = "[NEIGHBOURS][NEIGHBOUR_COMPONENTS]"
        return (
            Table(kind="unsigned char", name="channel", shape="[VIEW_CHANNELS]", values=np.array(self.channels)),
            Table(kind="float", name="kernel", shape=projection, values=self.kernel),
            Table(kind="float", name="bias", shape=components, values=self.bias),
            Table(kind="float", name="mean", shape="[VIEW_CHANNELS * SOIL_FEATURE_BANDS]", values=self.mean),
            Table(kind="float", name="inverse_sd", shape=components, values=self.inverse_sd),
            Table(kind="float", name="inverse_scale", shape=components, values=self.inverse_scale),
            Table(kind="float", name="landmark", shape=neighbours, values=self.neighbours),
            Table(kind="float", name="closeness", shape="[NEIGHBOURS]", values=self.closeness),
        )


def domain(constants: Domain) -> dict[str, str]:
    """Write domain.h and domain.c: features to T2 and Q."""
    code = fill(
        "domain.c",
        view_channels=len(constants.channels),
        neighbours=len(constants.neighbours),
        neighbour_components=constants.neighbours.shape[1],
        tables="\n".join(table.text() for table in constants.tables()),
    )
    return {"domain.h": fill("domain.h", components=len(constants.bias)), "domain.c": code}
