"""How many samples of each group are selected."""

from collections.abc import Mapping


def allocate(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Divide a number of samples over groups in proportion to their sizes, at least one for each while it suffices.

    First, each group gets a sample, the largest groups first. Each further sample goes to the group with the largest
    size / (2 a + 1), where a is the number of samples that it has (method of Sainte-Lague, 1910). No group gets more
    samples than it has. Of equal groups, the first by name counts.

    Args:
        sizes: Group -> number of its samples, at least 1.
        count: Number of samples to divide, at most the sum of the sizes.

    Returns:
        Group -> samples; their sum is `count`.
    """
    names = sorted(sizes, key=lambda name: (-sizes[name], name))
    shares = dict.fromkeys(sizes, 0)
    for name in names[:count]:
        shares[name] = 1
    for _ in range(count - sum(shares.values())):
        open_groups = [name for name in names if shares[name] < sizes[name]]
        shares[max(open_groups, key=lambda name: sizes[name] / (2 * shares[name] + 1))] += 1
    return shares
