"""The parts of a model, found from what its outputs need: front end, kernels, domain, network."""

from dataclasses import replace

from export.graph.operator_list import OperatorList

PARTS = ("front_end", "kernels", "domain", "network")
"""In an order in which they can be computed:
front_end: what both T2 and the targets need: absorbance, channels, the scores of the first view;
kernels: what else both Q and the targets need: the kernel regressions, if Q contains their disagreement;
domain: what only T2 and Q need;
network: what only the targets need, and the kernel regressions if Q does not need them."""


def parts_of(model: OperatorList) -> tuple[str, ...]:
    """Part of each operator.

    An operator that no output needs belongs to the network.
    """
    for_t2, for_q = needed(model, ("T2",)), needed(model, ("Q",))
    for_targets = needed(model, tuple(name for name in model.outputs if name not in ("T2", "Q")))
    parts = []
    for operator in model.operators:
        in_t2, in_q, in_targets = (operator.output in tensors for tensors in (for_t2, for_q, for_targets))
        if in_targets and in_t2:
            parts.append("front_end")
        elif in_targets and in_q:
            parts.append("kernels")
        else:
            parts.append("domain" if in_t2 or in_q else "network")
    return tuple(parts)


def by_part(model: OperatorList) -> OperatorList:
    """The same model with its operators in the order of PARTS.

    The order is valid: what an operator reads is needed by all that need the operator, so it is in the same part or in
    an earlier one.
    """
    parts = parts_of(model)
    order = sorted(range(len(parts)), key=lambda position: PARTS.index(parts[position]))
    return replace(model, operators=tuple(model.operators[position] for position in order))


def needed(model: OperatorList, outputs: tuple[str, ...]) -> set[int]:
    """Tensors that these outputs need."""
    tensors = {model.outputs[name] for name in outputs if name in model.outputs}
    for operator in reversed(model.operators):
        if operator.output in tensors:
            tensors |= set(operator.inputs)
    return tensors
