"""Trials on a Ray cluster: of two simulated nodes one dies, a worker dies, an address does not answer."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest
from test_search_trials import ONE_FIELD, search_of
from tuning_jobs import held, one_with_units, troubled

from relple_tf.errors import InputError
from tuning.executors import RayTasks, check_answer, connected
from tuning.space import space_of

pytest.importorskip("ray", reason="the extra cluster is not installed")


@pytest.fixture(scope="module")
def cluster():
    """A head of one core and a second node of two."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.second = nodes.add_node(num_cpus=2)
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


@pytest.fixture
def units_only(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(ONE_FIELD, encoding="utf-8")
    return space_of(one_with_units(1), path)


def test_an_address_that_does_not_answer_is_refused_in_time():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        free = listening.getsockname()[1]
    for address in ("nowhere", f"127.0.0.1:{free}", "127.0.0.1:99999"):
        began_s = time.monotonic()
        with pytest.raises(InputError, match="--ray"):
            check_answer(address)
        assert time.monotonic() - began_s < 15


@pytest.mark.filterwarnings("ignore")  # Ray's own: sockets and files that its processes leave open
def test_a_search_outlives_a_worker_and_a_node(cluster, units_only, tmp_path):
    """Trouble as with processes; then a node dies under its trials, and the head's core does them."""
    said = []
    search = search_of("grid", space=units_only, notify=said.append)
    ray = connected(cluster.address)
    place = RayTasks(troubled, tmp_path, ray=ray, limit_s=12.0)
    assert place.free() == 3
    search.run(_Open(place))
    states = {trial.config.model.expert_units: (trial.state, trial.message) for trial in search.done()}
    assert {units for units, (state, _) in states.items() if state == "done"} == {1, 2, 8}
    assert "lost (WorkerCrashedError)" in states[3][1]
    assert states[4][1] == "hung: not done after 12 s"
    assert states[5][1] == "ValueError: five is refused"
    assert {units: len(list(tmp_path.glob(f"{units}-*"))) for units in range(1, 9)} == dict.fromkeys(range(1, 9), 1) | {
        2: 2,
        3: 2,
    }

    again, said, folder = search_of("grid", space=units_only), [], tmp_path / "again"
    folder.mkdir()

    def hear(line):
        # Only now may a trial end: a worker outlives its node by a moment, in which it would still deliver.
        said.append(line)
        if "run again" in line:
            (folder / "killed").touch()

    again.say = hear
    place = RayTasks(held, folder, ray=ray, limit_s=60.0)

    def kill_the_second_node():
        while len(list(folder.glob("began-*"))) < 3:
            time.sleep(0.05)
        cluster.remove_node(cluster.second, allow_graceful=False)

    killer = threading.Thread(target=kill_the_second_node)
    killer.start()
    again.run(place)
    killer.join()
    assert [trial.state for trial in again.done()] == ["done"] * 8
    assert any("run again" in line for line in said)


class _Open:
    """A place that the search does not close, for the next search."""

    def __init__(self, place):
        self.free, self.start, self.wait = place.free, place.start, place.wait

    def close(self):
        pass
