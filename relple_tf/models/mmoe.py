"""Multi-gate mixture of experts: all experts shared, one gate per target (Ma et al. 2018, KDD)."""

import dataclasses

from relple_tf.config import ModelConfig
from relple_tf.models.ple import ple
from relple_tf.models.problem import Keras, Problem, Tensor


def as_cgc(config: ModelConfig, targets: int) -> ModelConfig:
    """MMoE is a CGC whose experts are all shared: as many as a level of PLE has in all."""
    return dataclasses.replace(
        config,
        architecture="cgc",
        task_experts=0,
        shared_experts=config.task_experts * targets + config.shared_experts,
    )


def mmoe(config: ModelConfig, problem: Problem, keras: Keras) -> Tensor:
    """As many experts as one level of PLE has, read by every target.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard
        deviations.
    """
    return ple(as_cgc(config, len(problem.targets)), problem, keras)
