"""Who reads whom: the gates of every level and the experts that each of them reads, as data. No Keras."""

from relple_tf.config import ModelConfig
from relple_tf.models.problem import Problem
from relple_tf.models.relevance import sources

SHARED = "task-shared"
"""Owner of the experts and the stream that belong to no target; the hyphen keeps it apart from every target's name."""

Gates = dict[str, dict[str, float]]
"""Stream that a gate makes -> {expert that it reads: what is added to its logit}."""


def expert_names(config: ModelConfig, owner: str, level: int) -> list[str]:
    """The experts that `owner` (a target or SHARED) has on a level, counted from 1."""
    count = config.shared_experts if owner == SHARED else config.task_experts
    return [f"level{level}.{owner}.expert{i}" for i in range(count)]


def wiring(config: ModelConfig, problem: Problem) -> list[Gates]:
    """The gates of each level of CGC, PLE or RS-PLE (Tang et al. 2020, Fig. 3 and Eq. 2-8).

    A target's gate reads its own experts, the shared ones, then those of the targets that relevance
    gives it. The shared gate reads everybody's; the last level has none. `cgc` is one level
    whatever `levels` says.
    """
    levels = config.levels if config.architecture in ("ple", "rs_ple") else 1
    owners = (*problem.targets, SHARED)
    read = sources(problem.correlation, problem.targets, config)
    wired = []
    for level in range(1, levels + 1):
        gates: Gates = {}
        for target in problem.targets:
            offsets = {target: 0.0, SHARED: 0.0, **read[target]}
            gates[target] = {
                name: offset for owner, offset in offsets.items() for name in expert_names(config, owner, level)
            }
        if level < levels and config.shared_experts:  # else nobody reads the shared stream
            everyone = [name for owner in owners for name in expert_names(config, owner, level)]
            gates[SHARED] = dict.fromkeys(everyone, 0.0)
        wired.append(gates)
    return wired


def gate_name(owner: str, level: int) -> str:
    """Name of the mixture that makes `owner`'s stream on a level; its softmax is `{name}.gate`."""
    return f"level{level}.{owner}"
