"""The deployed model: front end, stack of network and kernel regression, target scaling, domain statistics."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from relple_tf.models.agreement import Disagreement, Larger
from relple_tf.models.domain import DomainStatistics
from relple_tf.models.front_end import InvalidIsNan
from relple_tf.models.kernel_regression import KernelRegression
from relple_tf.models.robust_views import PROJECTION, REFERENCE
from relple_tf.models.target_scaling import LOWEST, InverseTargetScaling, TargetScale
from relple_tf.models.views import joined, view_name

T2, Q = "T2", "Q"
"""Names of the outputs that hold the domain statistics; see `domain.DomainStatistics`."""
KERNEL_REGRESSION, KERNEL_SHARE = "kernel_regression", "kernel_share"
"""Names of layers of the kernel part; see `KernelPart`."""
ROBUST_SHARE, DISAGREEMENT = "robust_share", "disagreement"
LOCAL, LOCAL_SLOPE, LOCAL_REGRESSION = "local{}", "local{}.slope", "local{}.regression"
"""Names of the layers of an adaptation, counted from 1; see `LocalPart`."""
GUARD = "invalid_is_nan"
"""Name of the layer that replaces the outputs of an impossible scan."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelPart:
    """The kernel regressions of the deployed model, of the network's views and of the robust views.

    They stay float32 in every device file, and with them the disagreement.
    """

    regression: KernelRegression
    """Scores of the network's views -> (batch, K), in standard deviations."""
    share: "Scaled"
    """These predictions -> their part of the stack."""
    reference: keras.Model | None = None
    """Absorbance (batch, grid) -> predictions of the robust views, likewise."""
    robust_share: "Scaled | None" = None
    """Reference -> its part of the stack."""
    disagreement: Disagreement | None = None
    """(Predictions of the network's views, reference) -> (batch, 1); None if no usual difference is known."""

    def __call__(self, learned: Any, scores: Sequence[Any], absorbance: Any, q: Any) -> tuple[Any, Any]:
        """Add the kernel regressions to the scaled outputs of the network, and the disagreement to Q.

        Args:
            learned: (batch, K), in standard deviations.
            scores: Of each view of the network, (batch, components).
            absorbance: (batch, grid).
            q: (batch, 1).

        Returns:
            The stack (batch, K) and Q (batch, 1).
        """
        from_views = self.regression(scores)
        members = [learned, self.share(from_views)]
        if self.reference is not None and self.robust_share is not None:
            reference = self.reference(absorbance)
            members.append(self.robust_share(reference))
            if self.disagreement is not None:
                q = Larger(name="larger")((q, self.disagreement((from_views, reference))))
        return keras.layers.Add(name="stack")(members), q

    def count_robust_views(self) -> int:
        """Count the projections of robust views; 0 without a part of the stack for them."""
        if self.reference is None or self.robust_share is None:
            return 0
        names = {layer.name for layer in self.reference.layers}
        return next(number for number in itertools.count() if PROJECTION.format(number + 1) not in names)

    @classmethod
    def of(cls, model: keras.Model) -> "KernelPart":
        """Return the part of a deployed model; raises ValueError if it has none."""
        layers = {layer.name: layer for layer in model.layers}
        return cls(
            regression=model.get_layer(KERNEL_REGRESSION),
            share=model.get_layer(KERNEL_SHARE),
            reference=layers.get(REFERENCE),
            robust_share=layers.get(ROBUST_SHARE),
            disagreement=layers.get(DISAGREEMENT),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalPart:
    """An adaptation to local soils: estimate * slope, plus a kernel regression whose landmarks are local soils."""

    slope: "Scaled"
    """Estimates of the run (batch, K), in standard deviations -> their part of the adapted estimates."""
    regression: KernelRegression
    """Scores of the network's views -> (batch, K), in standard deviations; its level holds the intercepts."""

    def __call__(self, stacked: Any, scores: Sequence[Any], number: int) -> Any:
        """Adapt estimates (batch, K) by the scores of each view, (batch, components); `number` counts from 1."""
        return keras.layers.Add(name=LOCAL.format(number))([self.slope(stacked), self.regression(scores)])

    @classmethod
    def all_of(cls, model: keras.Model) -> tuple["LocalPart", ...]:
        """Return the adaptations of a deployed model, in the order in which they act."""
        layers = {layer.name: layer for layer in model.layers}
        numbers = itertools.takewhile(lambda number: LOCAL_SLOPE.format(number) in layers, itertools.count(1))
        return tuple(
            cls(slope=layers[LOCAL_SLOPE.format(number)], regression=layers[LOCAL_REGRESSION.format(number)])
            for number in numbers
        )


def adapted(stacked: Any, scores: Sequence[Any], local: Sequence[LocalPart]) -> Any:
    """Apply the adaptations in their order to the estimates (batch, K), in standard deviations."""
    for number, part in enumerate(local, start=1):
        stacked = part(stacked, scores, number)
    return stacked


def deployed_model(
    absorbance: keras.Model,
    channels: keras.Model,
    network: keras.Model,
    scales: Sequence[TargetScale],
    domain_statistics: DomainStatistics,
    kernels: KernelPart,
    local: Sequence[LocalPart] = (),
) -> keras.Model:
    """Join the trained parts to one graph. The network is already scaled by its stacking weights.

    Args:
        absorbance: Raw scan (batch, bands) -> absorbance (batch, grid).
        channels: Absorbance -> features (batch, bands, channels).
        network: Features -> {target: (batch, 1)} in standard deviations.
        scales: Scale of each target.
        domain_statistics: Bands and scores of the first view -> T2 and Q.
        kernels: The kernel regressions.
        local: Adaptations to local soils, in the order in which they act.

    Returns:
        A model, raw scan (batch, bands) -> {target: (batch, 1) in laboratory units, "T2": (batch, 1), "Q": (batch, 1)};
        NaN for an impossible scan.
    """
    spectrum = keras.Input(absorbance.input.shape[1:], name="spectrum")
    on_grid = absorbance(spectrum)
    by_target, bands, scores = with_views(network)(channels(on_grid))
    learned = joined([by_target[scale.name] for scale in scales], keras, name="learned")
    t2, q = domain_statistics((bands, scores[0]))
    stacked, q = kernels(learned, scores, on_grid, q)
    stacked = adapted(stacked, scores, local)
    lowest = InvalidIsNan().lowest if absorbance.get_layer("absorbance").quantity != "features" else LOWEST
    guard = InvalidIsNan(lowest, name=GUARD)
    values = guard((on_grid, InverseTargetScaling(scales, name="target_scaling")(stacked)))
    outputs = PerTarget([scale.name for scale in scales], name="per_target")(values)
    outputs[T2], outputs[Q] = guard((on_grid, t2)), guard((on_grid, q))
    return keras.Model(spectrum, outputs, name="scan_to_lab")


@keras.saving.register_keras_serializable("relple_tf")
class Scaled(keras.layers.Layer):
    """Multiply each column (batch, K) by a fixed factor (K,), which `factors.assign` sets."""

    def build(self, shape: Sequence[int | None]) -> None:
        self.factors = self.add_weight(shape=shape[1:], initializer="ones", trainable=False, name="factors")

    def call(self, values: Any) -> Any:
        return values * self.factors


@keras.saving.register_keras_serializable("relple_tf")
class PerTarget(keras.layers.Layer):
    """`per_target` as a layer.

    Every operation of the deployed model is a named layer: Keras numbers unnamed operations through the process, so the
    saved file would depend on what was built before.
    """

    def __init__(self, targets: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.targets = tuple(targets)

    def call(self, values: Any) -> Any:
        return per_target(values, self.targets)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "targets": self.targets}


def per_target(values: Any, targets: Sequence[str]) -> dict[str, Any]:
    """Split (batch, targets) into {target: (batch, 1)}."""
    return dict(zip(targets, ops.split(values, len(targets), axis=1), strict=True))


def with_views(network: Any) -> Any:
    """Extend the network's outputs by the tensors that `DomainStatistics` and `KernelRegression` read.

    Args:
        network: A model of `keras` or `tf_keras`.

    Returns:
        A model, features -> (outputs, bands of the first view, scores of every view).
    """
    layers = {layer.name: layer for layer in network.layers}
    # In the order of the config, in which the kernel regression stores its weights.
    names = itertools.takewhile(layers.__contains__, map(view_name, itertools.count()))
    views = [layers[name] for name in names]
    outputs = (network.output, views[0].input, [view.output for view in views])
    return type(network)(network.input, outputs, name=network.name)
