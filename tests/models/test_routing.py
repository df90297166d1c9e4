"""Laws of the routing: which gate reads which experts."""

from dataclasses import replace

import pytest
from conftest import TARGETS, TINY, spec_of

from relple_tf.models.catalogue import ROUTINGS
from relple_tf.models.mmoe import all_shared
from relple_tf.models.routing import SHARED, expert_names, gate_name


def gates_by_level(config, spec):
    return ROUTINGS[config.architecture](config, spec)


SIZES = [(1, 1), (2, 1), (1, 3), (0, 2), (2, 0)]


def config_of(architecture, levels=2, m=1, s=1, **changes):
    return replace(
        TINY,
        architecture=architecture,
        levels=levels,
        task_experts=m,
        shared_experts=s,
        **changes,
    )


@pytest.mark.parametrize(("m", "s"), SIZES)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_shared_gate_reads_km_plus_s_experts(count, m, s):
    config = config_of("ple", 3, m, s)
    *lower, last = gates_by_level(config, spec_of(TARGETS[:count]))
    # Without shared experts no expert reads the shared stream, so there is no shared gate.
    assert [len(gates.get(SHARED, ())) for gates in lower] == [count * m + s if s else 0] * 2
    assert SHARED not in last


@pytest.mark.parametrize(("m", "s"), SIZES)
def test_task_gate_reads_task_specific_and_shared_experts_only(m, s):
    config = config_of("ple", 2, m, s)
    for level, gates in enumerate(gates_by_level(config, spec_of()), start=1):
        for target in TARGETS:
            specific, shared = (expert_names(config, owner, level) for owner in (target, SHARED))
            assert list(gates[target]) == [*specific, *shared]
            assert (len(specific), len(shared)) == (m, s)


def test_relevance_adds_the_experts_of_relevant_targets():
    config = config_of("rs_ple", 2, 2, 1)
    for level, gates in enumerate(gates_by_level(config, spec_of()), start=1):
        oc, cec, ph = (expert_names(config, target, level) for target in TARGETS)
        shared = expert_names(config, SHARED, level)
        assert list(gates["OC_g_kg"]) == [*oc, *shared, *cec]
        assert list(gates["CEC_cmolc_kg"]) == [*cec, *shared, *oc]
        assert list(gates["pH"]) == [*ph, *shared]


def test_tau_zero_reads_the_experts_of_every_target_and_tau_above_one_is_ple():
    tau_zero = gates_by_level(config_of("rs_ple", relevance_tau=0.0), spec_of())
    assert {len(gates[target]) for gates in tau_zero for target in TARGETS} == {4}
    tau_above_one = gates_by_level(config_of("rs_ple", relevance_tau=1.01), spec_of())
    assert tau_above_one == gates_by_level(config_of("ple"), spec_of())


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_cgc_has_one_level_whatever_the_config_holds(levels):
    assert gates_by_level(config_of("cgc", levels), spec_of()) == gates_by_level(config_of("ple", 1), spec_of())


def test_mmoe_has_as_many_experts_as_a_level_of_ple_and_all_are_shared():
    config = all_shared(config_of("mmoe", 3, 2, 1), targets=3)
    (gates,) = gates_by_level(config, spec_of())
    assert all(len(read) == 3 * 2 + 1 for read in gates.values())
    assert len({tuple(read) for read in gates.values()}) == 1


@pytest.mark.parametrize("architecture", ["cgc", "ple", "rs_ple"])
def test_no_two_experts_or_gates_share_a_name(architecture):
    config = config_of(architecture, 3, 2, 2)
    owners = (*TARGETS, SHARED)
    experts = [n for level in (1, 2, 3) for o in owners for n in expert_names(config, o, level)]
    gates = [gate_name(owner, level) for level in (1, 2, 3) for owner in owners]
    assert len({*experts, *gates}) == len(experts) + len(gates)
    for level, level_gates in enumerate(gates_by_level(config, spec_of()), start=1):
        assert {n for read in level_gates.values() for n in read} == {
            n for owner in owners for n in expert_names(config, owner, level)
        }
