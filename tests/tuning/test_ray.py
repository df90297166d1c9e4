"""Trials on a Ray cluster of two simulated nodes: a worker dies, a node dies, an address does not answer."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest
from test_trials import ONE_FIELD, search_of
from tuning_jobs import config_with_units, failing, waiting

from relple_tf.errors import InputError
from tuning.executors import RayTasks, check_cluster, connect_to_ray
from tuning.space import space_of

pytest.importorskip("ray", reason="the extra cluster is not installed")


@pytest.fixture(scope="module")
def cluster():
    """A head node with one core and a second node with two."""
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
    return space_of(config_with_units(1), path)


def test_an_address_without_a_cluster_is_refused_within_15_seconds():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        free = listening.getsockname()[1]
    for address in ("nowhere", f"127.0.0.1:{free}", "127.0.0.1:99999"):
        began_s = time.monotonic()
        with pytest.raises(InputError, match="--ray"):
            check_cluster(address)
        assert time.monotonic() - began_s < 15


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's processes leave sockets and files open
def test_a_search_survives_the_loss_of_a_worker_and_of_a_node(cluster, units_only, tmp_path):
    """First the failures of `failing`; then a node dies with its trials, and the core of the head runs them."""
    lines = []
    search = search_of("grid", space=units_only, notify=lines.append)
    ray = connect_to_ray(cluster.address)
    executor = RayTasks(failing, tmp_path, ray=ray, limit_s=12.0)
    assert executor.free() == 3
    search.run(_LeftOpen(executor))
    states = {trial.config.model.expert_units: (trial.state, trial.message) for trial in search.ended()}
    assert {units for units, (state, _) in states.items() if state == "done"} == {1, 2, 8}
    assert "lost (WorkerCrashedError)" in states[3][1]
    assert states[4][1] == "hung: not done after 12 s"
    assert states[5][1] == "ValueError: five is refused"
    assert {units: len(list(tmp_path.glob(f"{units}-*"))) for units in range(1, 9)} == dict.fromkeys(range(1, 9), 1) | {
        2: 2,
        3: 2,
    }

    again, lines, folder = search_of("grid", space=units_only), [], tmp_path / "again"
    folder.mkdir()

    def record(line):
        # No trial may end before: a worker lives a moment longer than its node, and could still return a result.
        lines.append(line)
        if "run again" in line:
            (folder / "killed").touch()

    again.notify = record
    executor = RayTasks(waiting, folder, ray=ray, limit_s=60.0)

    def kill_the_second_node():
        while len(list(folder.glob("began-*"))) < 3:
            time.sleep(0.05)
        cluster.remove_node(cluster.second, allow_graceful=False)

    killer = threading.Thread(target=kill_the_second_node)
    killer.start()
    again.run(executor)
    killer.join()
    assert [trial.state for trial in again.ended()] == ["done"] * 8
    assert any("run again" in line for line in lines)


class _LeftOpen:
    """An executor that the first search does not close, because the second one uses the cluster too."""

    def __init__(self, executor):
        self.free, self.start, self.wait = executor.free, executor.start, executor.wait

    def close(self):
        pass
