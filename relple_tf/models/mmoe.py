"""Multi-gate mixture of experts: all experts shared, one gate per target (Ma et al. 2018, KDD)."""

import dataclasses

from relple_tf.config import ModelConfig
from relple_tf.models.ple import ple
from relple_tf.models.problem import Keras, Problem, Tensor


def all_shared(config: ModelConfig, targets: int) -> ModelConfig:
    """The config whose wiring is MMoE's: a single level of PLE with as many experts, all of them shared."""
    count = config.task_experts * targets + config.shared_experts
    return dataclasses.replace(config, task_experts=0, shared_experts=count)


def mmoe(config: ModelConfig, problem: Problem, keras: Keras) -> Tensor:
    """As many experts as one level of PLE has, read by every target.

    Returns:
        A model from features (batch, bands, channels) to {target: (batch, 1)}, in standard
        deviations.
    """
    return ple(all_shared(config, len(problem.targets)), problem, keras)
