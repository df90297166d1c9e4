"""A child process ends when its parent ends, also if the parent is killed or the child is busy."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

CHILD = """
import os, pathlib, sys, time
from relple_tf import parent_process as parent
{before}
parent.end_with_parent()
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
{work}
"""
PARENT = """
import signal, subprocess, sys
from relple_tf.parent_process import environment
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], env=environment(), start_new_session=True)
{then}
"""
SLEEP = "time.sleep(600)"
# A C function that keeps the interpreter lock, so that no thread of the child can run.
BUSY = "import ctypes; ctypes.PyDLL(None).sleep(600)"
NO_KERNEL = "parent._request_kill = lambda: False; parent.POLL_S = 0.05"

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux sends a signal when the parent ends")


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def family(tmp_path, before="", work=SLEEP, then="child.wait()"):
    """A parent process, and the id of its child, which is running."""
    file = tmp_path / "pid"
    child = CHILD.format(before=before, work=work)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(then=then), child, str(file)], env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert wait_until(lambda: file.exists() and file.read_text())
    return parent, int(file.read_text())


@linux
@pytest.mark.parametrize("work", [SLEEP, BUSY])
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_when_its_parent_is_killed(sent, work, tmp_path):
    parent, child = family(tmp_path, work=work)
    assert alive(child)
    parent.send_signal(sent)
    parent.wait()
    assert wait_until(lambda: not alive(child))


@linux
def test_a_child_ends_when_its_parent_ends_by_itself(tmp_path):
    parent, child = family(tmp_path, then="import time; time.sleep(2)")
    assert parent.wait() == 0
    assert wait_until(lambda: not alive(child))


def test_without_a_signal_of_the_kernel_a_thread_checks_the_parent(tmp_path):
    parent, child = family(tmp_path, before=NO_KERNEL)
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not alive(child))


@pytest.mark.parametrize("before", ["", NO_KERNEL])
def test_a_child_ends_if_its_parent_ended_before_the_request_to_the_kernel(before, tmp_path):
    """Then the id of its parent process differs from the id in the environment."""
    child = CHILD.format(before=f"os.environ[parent.PARENT] = '1' if os.getppid() != 1 else '2'\n{before}", work="")
    done = subprocess.run(
        [sys.executable, "-c", child, str(tmp_path / "pid")], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_the_module_imports_nothing_slow():
    code = (
        "import sys, relple_tf.parent_process; print({'numpy', 'pandas', 'keras', 'multiprocessing'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n"
