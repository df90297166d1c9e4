"""The routing of gates and experts as data: which gate reads which experts, level by level. No Keras."""

from collections.abc import Mapping

from relple_tf.config import ModelConfig
from relple_tf.models.network_spec import NetworkSpec

SHARED = "task-shared"
"""Owner of the shared experts and the shared stream; the hyphen makes it different from every target's name."""

Gates = dict[str, dict[str, float]]
"""Owner of a gate -> {expert that the gate reads: offset added to its logit}."""

Relevance = Mapping[str, Mapping[str, float]]
"""Target -> {other target whose experts the gate also reads: offset added to their logits}."""


def routing(config: ModelConfig, spec: NetworkSpec, levels: int, relevance: Relevance | None = None) -> list[Gates]:
    """Return the gates of each extraction level (Tang et al. 2020, Fig. 3 and Eq. 2-8).

    A target's gate reads the target's experts, then the shared experts, then the experts of the targets that
    `relevance` names. The shared gate reads all experts; the last level has no shared gate.

    Args:
        config: Numbers of experts.
        spec: Names of the targets.
        levels: Number of levels; 1 is CGC.
        relevance: From `relevant_targets`. None is PLE: no gate reads the experts of another target.
    """
    owners = (*spec.targets, SHARED)
    gates_by_level = []
    for level in range(1, levels + 1):
        gates: Gates = {}
        for target in spec.targets:
            offsets = {target: 0.0, SHARED: 0.0, **(relevance or {}).get(target, {})}
            gates[target] = {
                name: offset for owner, offset in offsets.items() for name in expert_names(config, owner, level)
            }
        if level < levels and config.shared_experts:  # else no expert reads the shared stream
            all_experts = [name for owner in owners for name in expert_names(config, owner, level)]
            gates[SHARED] = dict.fromkeys(all_experts, 0.0)
        gates_by_level.append(gates)
    return gates_by_level


def expert_names(config: ModelConfig, owner: str, level: int) -> list[str]:
    """Return the names of the experts of `owner` (a target or SHARED) on a level, counted from 1."""
    count = config.shared_experts if owner == SHARED else config.task_experts
    return [f"level{level}.{owner}.expert{i}" for i in range(count)]


def gate_name(owner: str, level: int) -> str:
    """Return the name of the mixture that computes `owner`'s stream on a level; its softmax is `{name}.gate`."""
    return f"level{level}.{owner}"
