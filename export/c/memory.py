"""Where each computed tensor lies in the work buffer: tensors that are not needed at the same time share memory."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass


@dataclass
class Lifetime:
    """When a block of memory is in use."""

    size: int
    """Number of float values."""
    first: int
    """Position of the step that writes it first."""
    last: int
    """Position of the step that reads it last."""

    def overlaps(self, other: "Lifetime") -> bool:
        """Whether both are in use during a step."""
        return self.first <= other.last and other.first <= self.last


def placed(lifetimes: Mapping[Hashable, Lifetime]) -> tuple[dict[Hashable, int], int]:
    """Place blocks so that those in use at the same time do not overlap: the largest first, each as low as possible.

    Returns:
        Block -> position of its first value, and the size of the buffer, both in float values.
    """
    positions: dict[Hashable, int] = {}
    order = sorted(lifetimes, key=lambda block: (-lifetimes[block].size, lifetimes[block].first))
    for block in order:
        lifetime = lifetimes[block]
        taken = sorted(
            (positions[other], positions[other] + lifetimes[other].size)
            for other in positions
            if lifetimes[other].overlaps(lifetime)
        )
        start = 0
        for begin, end in taken:
            if start + lifetime.size <= begin:
                break
            start = max(start, end)
        positions[block] = start
    return positions, max((positions[block] + lifetimes[block].size for block in positions), default=0)
