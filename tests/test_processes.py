"""Laws of worker processes: each job runs once, on one thread; no worker outlives its parent process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import worker_jobs

from relple_tf.errors import InputError
from relple_tf.processes import THREADS, ProcessDiedError, run_all


def test_processes_run_every_job_once_with_one_thread_each(tmp_path, monkeypatch):
    monkeypatch.setenv(THREADS[0], "many")
    done = []
    jobs = [f"job{number}" for number in range(6)]
    values = run_all(
        worker_jobs.record, jobs, tmp_path, workers=2, finished=lambda number, value: done.append((number, value))
    )
    assert values == [job.upper() for job in jobs]
    assert sorted(done) == list(enumerate(values))
    records = [(tmp_path / job).read_text().split() for job in jobs]
    assert str(os.getpid()) not in {process for process, _ in records}
    assert {threads for _, threads in records} == {"1"}


def test_a_single_job_runs_in_this_process_if_this_process_has_one_thread(tmp_path, monkeypatch):
    assert run_all(worker_jobs.record, ["here"], tmp_path, workers=4) == ["HERE"]
    assert (tmp_path / "here").read_text() == f"{os.getpid()} 1"
    monkeypatch.setenv(THREADS[0], "2")
    run_all(worker_jobs.record, ["there"], tmp_path, workers=1)
    process, threads = (tmp_path / "there").read_text().split()
    assert process != str(os.getpid())
    assert threads == "1"


def test_without_jobs_no_process_starts(tmp_path):
    assert run_all(worker_jobs.die, [], tmp_path, workers=0) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (worker_jobs.refuse, InputError, "^[abc] is refused$"),
        (worker_jobs.fail, RuntimeError, r"(?s)KeyError.*Traceback.*in fail"),
        (worker_jobs.die, ProcessDiedError, "exit code 9"),
    ],
)
def test_the_first_error_ends_all_jobs(tmp_path, function, error, message):
    with pytest.raises(error, match=message):
        run_all(function, ["a", "b", "c"], tmp_path, workers=2)


def alive(process):
    """Whether a process runs; a zombie does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc of Linux")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_when_their_parent_process_ends(tmp_path, sent):
    script = f"import pathlib, worker_jobs; worker_jobs.pool_of_two(pathlib.Path({str(tmp_path)!r}))"
    paths = os.pathsep.join(str(path) for path in (Path(__file__).parent, Path(__file__).parents[1]))
    parent = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2 and all(p.read_text() for p in tmp_path.iterdir()))
    workers = [int(path.read_text()) for path in tmp_path.iterdir()]
    assert all(alive(worker) for worker in workers)
    parent.send_signal(sent)
    parent.wait(60)
    wait_until(lambda: not any(alive(worker) for worker in workers))
    assert not any(alive(worker) for worker in workers)


def test_a_script_without_a_guard_runs_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); print('script')\n"
        "import worker_jobs; from pathlib import Path; from relple_tf.processes import run_all\n"
        f"print(run_all(worker_jobs.record, ['a', 'b'], Path({str(tmp_path)!r}), workers=2))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "script\n['A', 'B']\n"
