"""The plan of the work buffer: blocks in use at the same time never overlap, and memory is used again."""

from hypothesis import given
from hypothesis import strategies as st

from export.c.memory import Lifetime, placed

LIFETIMES = st.lists(
    st.builds(
        lambda size, first, length: Lifetime(size, first, first + length),
        st.integers(1, 50),
        st.integers(0, 20),
        st.integers(0, 8),
    ),
    max_size=25,
)


@given(LIFETIMES)
def test_blocks_in_use_at_the_same_time_do_not_overlap(lifetimes):
    blocks = dict(enumerate(lifetimes))
    positions, total = placed(blocks)
    assert set(positions) == set(blocks)
    for block, lifetime in blocks.items():
        assert 0 <= positions[block] <= total - lifetime.size
        for other, other_lifetime in blocks.items():
            if other != block and lifetime.overlaps(other_lifetime):
                apart = positions[block] + lifetime.size <= positions[other]
                assert apart or positions[other] + other_lifetime.size <= positions[block]


@given(LIFETIMES)
def test_the_buffer_is_at_least_as_large_as_the_blocks_of_any_step(lifetimes):
    _, total = placed(dict(enumerate(lifetimes)))
    steps = range(30)
    busiest = max(sum(block.size for block in lifetimes if block.first <= step <= block.last) for step in steps)
    assert busiest <= total <= sum(block.size for block in lifetimes)


def test_blocks_of_different_times_share_memory():
    positions, total = placed({"a": Lifetime(10, 0, 1), "b": Lifetime(7, 2, 3), "c": Lifetime(3, 1, 2)})
    assert total == 13
    assert positions["a"] == positions["b"] == 0
