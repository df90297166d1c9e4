"""The architectures as functions that return a `keras.Model`, in the manner of `keras.applications`.

Plain `compile` and `fit` train these models on arrays. The pipeline of `relple_tf` does not use them: it fits the
projections of the views by PCA and freezes them, where these models train one projection.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from relple_tf.config import ModelConfig
from relple_tf.errors import InputError
from relple_tf.models import catalogue
from relple_tf.models.network_spec import NetworkSpec
from relple_tf.models.views import view_name


def rs_ple(
    input_shape: Sequence[int],
    targets: Sequence[str],
    *,
    correlation: npt.ArrayLike,
    relevance: str = "hard",
    relevance_tau: float = 0.6,
    levels: int = 2,
    task_experts: int = 1,
    shared_experts: int = 1,
    **sizes: Any,
) -> keras.Model:
    """RS-PLE: PLE in which the gate of a target also reads the experts of the targets that correlate with it.

    Args:
        input_shape: (n_features,) or (n_steps, n_channels).
        targets: K names of letters, digits and `_`; the keys of the outputs.
        correlation: (K, K) Pearson correlation of the targets on training rows.
        relevance: `hard`: read the experts of targets with |r| >= `relevance_tau`; `soft`: read all, and add
            log |r| to their gate logits.
        relevance_tau: Threshold of the hard form.
        levels: Extraction levels.
        task_experts: Experts per target and level.
        shared_experts: Shared experts per level.
        sizes: `components` (width of the trained projection, default 32), and further fields of
            `relple_tf.config.ModelConfig`: `expert_kind`, `expert_units`, `conv_filters`, `tower_units`, `dropout`, ...

    Returns:
        A model from (batch, *input_shape) to {target: (batch, 1)}. Standardise inputs and targets.

    Raises:
        InputError: a size, a name or the shape of `correlation` is impossible.
    """
    return _model(
        "rs_ple",
        input_shape,
        targets,
        correlation,
        relevance=relevance,
        relevance_tau=relevance_tau,
        levels=levels,
        task_experts=task_experts,
        shared_experts=shared_experts,
        **sizes,
    )


def ple(
    input_shape: Sequence[int],
    targets: Sequence[str],
    *,
    levels: int = 2,
    task_experts: int = 1,
    shared_experts: int = 1,
    **sizes: Any,
) -> keras.Model:
    """PLE (Tang et al. 2020, RecSys, doi 10.1145/3383313.3412236). Arguments as for `rs_ple`."""
    experts = {"task_experts": task_experts, "shared_experts": shared_experts}
    return _model("ple", input_shape, targets, None, levels=levels, **experts, **sizes)


def cgc(
    input_shape: Sequence[int], targets: Sequence[str], *, task_experts: int = 1, shared_experts: int = 1, **sizes: Any
) -> keras.Model:
    """CGC, which is PLE with one level (Tang et al. 2020). Arguments as for `rs_ple`."""
    return _model("cgc", input_shape, targets, None, task_experts=task_experts, shared_experts=shared_experts, **sizes)


def mmoe(input_shape: Sequence[int], targets: Sequence[str], *, experts: int = 4, **sizes: Any) -> keras.Model:
    """Multi-gate mixture of experts (Ma et al. 2018, KDD, doi 10.1145/3219819.3220007).

    Args:
        input_shape: As for `rs_ple`.
        targets: Likewise.
        experts: Number of experts, all shared.
        sizes: As for `rs_ple`.
    """
    return _model("mmoe", input_shape, targets, None, task_experts=0, shared_experts=experts, **sizes)


def shared_bottom(input_shape: Sequence[int], targets: Sequence[str], **sizes: Any) -> keras.Model:
    """One expert that all targets read (Caruana 1997, Machine Learning 28, 41-75). Arguments as for `rs_ple`."""
    return _model("shared_bottom", input_shape, targets, None, **sizes)


def single_task(input_shape: Sequence[int], targets: Sequence[str], **sizes: Any) -> keras.Model:
    """One network per target; nothing is shared. Arguments as for `rs_ple`."""
    return _model("single_task", input_shape, targets, None, **sizes)


def _model(
    architecture: str,
    input_shape: Sequence[int],
    targets: Sequence[str],
    correlation: npt.ArrayLike | None,
    *,
    components: int = 32,
    basis_units: int = 0,
    **settings: Any,
) -> keras.Model:
    """Build an architecture of the catalogue on inputs of `input_shape`."""
    shape, names = tuple(int(size) for size in input_shape), tuple(targets)
    if len(shape) not in (1, 2) or min(shape, default=0) < 1:
        raise InputError(f"input_shape: expected (n_features,) or (n_steps, n_channels); received {input_shape!r}")
    if isinstance(targets, str) or not names or len(set(names)) != len(names):
        raise InputError(f"targets: expected a list of different names; received {targets!r}")
    if wrong := [name for name in names if not (name.isascii() and name.isidentifier())]:
        raise InputError(f"targets: expected names of letters, digits and _; received {wrong[0]!r}")
    related = np.eye(len(names)) if correlation is None else np.asarray(correlation, "float64")
    if related.shape != (len(names), len(names)) or not np.isfinite(related).all():
        raise InputError(
            f"correlation: expected ({len(names)}, {len(names)}) finite numbers; received shape {related.shape}"
        )
    known = ModelConfig.__dataclass_fields__
    if unknown := sorted(set(settings) - set(known)):
        raise InputError(f"{unknown[0]}: expected components or one of {', '.join(known)}")
    config = ModelConfig(architecture=architecture, basis_units=basis_units, **settings)
    steps, channels = shape if len(shape) == 2 else (shape[0], 1)
    spec = NetworkSpec(
        bands=steps,
        channels=channels,
        components=components,
        views=(tuple(range(channels)),),
        targets=names,
        correlation=related,
    )
    network = catalogue.build(config, spec, keras)
    network.get_layer(view_name(0)).trainable = True
    if len(shape) == 2:
        return network
    inputs = keras.Input(shape, name="inputs")
    reshaped = keras.layers.Reshape((steps, 1), name="as_sequence")(inputs)
    return keras.Model(inputs, network(reshaped), name=architecture)
