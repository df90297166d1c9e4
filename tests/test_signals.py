"""After Ctrl-C, SIGTERM or SIGHUP, checkpoints remain, no process remains, and the exit code names the signal."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relple_tf import command_line

ROOT = Path(__file__).parents[1]
END_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
# If a shell starts the tests in the background, they and their child processes ignore Ctrl-C.
START = """
import os, pathlib, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
"""


def start(code, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", START + code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


COMMAND = """
from relple_tf.command_line import run
def main(arguments):
    try:
        print("at work", flush=True)
        {work}
    finally:
        print("cleaning up", flush=True)
        {clean_up}
        print("clean", flush=True)
run(main, [])
"""


def ended(process):
    """Exit code, and the unread output to stdout and stderr."""
    with process:
        return process.wait(60), process.stdout.read(), process.stderr.read()


def command(work="time.sleep(600)", clean_up="pass", before=""):
    process = start(before + COMMAND.format(work=work, clean_up=clean_up))
    assert process.stdout.readline() == "at work\n"
    return process


@pytest.mark.parametrize("number", END_SIGNALS)
def test_after_a_signal_the_command_cleans_up_and_exits_with_its_code(number):
    process = command()
    process.send_signal(number)
    assert ended(process) == (128 + number, "cleaning up\nclean\n", "stopped\n")


@pytest.mark.parametrize("first", END_SIGNALS)
@pytest.mark.parametrize("second", END_SIGNALS)
def test_a_second_signal_does_not_disturb_the_clean_up(first, second):
    """A terminal and `timeout` send two signals; here the clean-up lasts until the second signal has been sent."""
    process = start(COMMAND.format(work="time.sleep(600)", clean_up="sys.stdin.readline()"), stdin=subprocess.PIPE)
    assert process.stdout.readline() == "at work\n"
    process.send_signal(first)
    assert process.stdout.readline() == "cleaning up\n"
    process.send_signal(second)
    process.stdin.write("\n")
    process.stdin.close()
    assert ended(process) == (128 + first, "clean\n", "stopped\n")


@pytest.mark.parametrize("second", END_SIGNALS)
def test_a_second_signal_does_not_change_the_exit_code_at_the_very_end(second):
    """Python removes the handlers before it deletes the modules and the object `last`."""
    last = f"""
class Last:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, {int(second)})
last = Last()
"""
    process = command(before=last)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (143, "cleaning up\nclean\n", "stopped\n")


def test_a_signal_long_after_the_first_ends_the_command_at_once():
    """A library may swallow the exception of the first signal; the command must still react to a later signal."""
    attempt = ["try:", "    print('trying', flush=True)", "    time.sleep(600)"]
    attempt += ["except KeyboardInterrupt:", "    print('swallowed', flush=True)"]
    work = "\n        ".join([*attempt, "time.sleep(600)"])
    process = command(work=work, before="from relple_tf import command_line; command_line.CLEAN_UP_S = 0\n")
    assert process.stdout.readline() == "trying\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "swallowed\n"
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (143, "", "")


@pytest.mark.parametrize("number", END_SIGNALS)
def test_a_signal_that_was_ignored_stays_ignored(number):
    """For example SIGHUP under nohup."""
    ignore = f"signal.signal({int(number)}, signal.SIG_IGN)\n"
    process = command(work=f"os.kill(os.getpid(), {int(number)})", before=ignore)
    assert ended(process) == (0, "cleaning up\nclean\n", "")


def test_an_error_of_the_clean_up_does_not_hide_the_signal():
    """For example a progress bar on a closed terminal, or a worker process that received the signal too."""
    process = command(clean_up="raise OSError(5, 'Input/output error')")
    process.send_signal(signal.SIGHUP)
    assert ended(process) == (129, "cleaning up\n", "stopped\n")


def test_a_command_that_ends_without_a_signal_restores_the_handlers():
    before = [signal.getsignal(number) for number in END_SIGNALS]
    for main in (lambda arguments: None, lambda arguments: sys.exit(2)):
        with pytest.raises(SystemExit):
            command_line.run(main, [])
    assert [signal.getsignal(number) for number in END_SIGNALS] == before


@pytest.mark.parametrize("size", [10, 1 << 20])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_gives_one_error_line(size):
    """Python buffers a few bytes, so that the error occurs only at the end."""
    code = f"from relple_tf.command_line import run\nrun(lambda arguments: print('x' * {size}), [])\n"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == 2
    assert done.stderr == "error: standard output: No space left on device; correct that, or give another --out\n"


def test_a_message_to_a_full_disk_does_not_end_the_command():
    code = "from relple_tf.command_line import notify, run\nrun(lambda arguments: notify('x' * 9999), [])\n"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stderr=full, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
    assert done.returncode == 0


def test_a_signal_during_the_start_of_a_process_is_deferred():
    """Else the new process prints a traceback."""
    code = (
        "from relple_tf.command_line import run\nfrom relple_tf import processes\n"
        "def main(arguments):\n"
        "    with processes._signals_deferred():\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n        print('started', flush=True)\n"
        "    print('not reached')\n"
        "run(main, [])\n"
    )
    assert ended(start(code)) == (143, "started\n", "stopped\n")


# The commands.

DATA = ["--data", "simulated", "--targets", "CEC_cmolc_kg,pH"]
FIELDS = ["simulated.soils=80", "simulated.step_nm=20", "front_end.step_nm=40", "front_end.derivative_window_nm=120"]
FIELDS += ["front_end.whitened_components=5", "model.expert_kind=cnn", "training.cv_folds=2"]
FIELDS += ["training.max_epochs=100000", "training.max_steps=1000000", "training.workers=2", "comparison.workers=2"]
COMMANDS = {
    "relple_tf.train": ["--preset", "rs_ple_nano"],
    "relple_tf.compare": ["--models", "rs_ple_nano,plsr", "--repeats", "2"],
    "tuning.search": ["--preset", "rs_ple_nano", "--trials", "2", "--workers", "2"],
}
AS_MODULE = "signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, ['python', '-m', *sys.argv[1:]])"


def descendants(pid):
    """Ids of all child processes, their children, and so on."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return children + [descendant for child in children for descendant in descendants(child)]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc of Linux")
@pytest.mark.parametrize(
    ("module", "number"),
    [("relple_tf.train", signal.SIGTERM), ("relple_tf.compare", signal.SIGHUP), ("tuning.search", signal.SIGINT)],
)
def test_a_signal_ends_a_command_and_its_workers(module, number, tmp_path):
    """The signal goes to the parent process only, as from `kill`; without it, training would take hours."""
    out = tmp_path / "out"
    fields = [f"--set={field}" for field in FIELDS]
    process = start(AS_MODULE, module, *COMMANDS[module], *DATA, *fields, "--out", out)
    # Two workers and the resource tracker of multiprocessing.
    assert wait_until(lambda: len(descendants(process.pid)) >= 3 or process.poll() is not None)
    children = descendants(process.pid)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)  # returns when every process with this stderr has ended
    assert process.returncode == 128 + number, err
    assert err.splitlines()[-2:] == [
        f"interrupted; continue with: python -m {module} --out {out} --resume"
        + (" --set comparison.workers=2" if "compare" in module else ""),
        "stopped",
    ]
    assert "leaked" not in err
    assert "Traceback" not in err
    assert wait_until(lambda: not any(alive(pid) for pid in children))
    assert (out / "config.toml").exists()
    assert not (out / "manifest.json").exists()
    assert not list(out.rglob(".unfinished-*"))


def test_a_killed_process_with_a_progress_bar_leaves_no_semaphore():
    """Workers are killed at the end of a command; a remaining semaphore would cause a warning on stderr."""
    code = "from relple_tf.progress import tqdm\nbar = tqdm()\nprint('drawn', flush=True); time.sleep(600)"
    process = start(code)
    assert process.stdout.readline() == "drawn\n"
    process.kill()
    assert "leaked" not in process.communicate(timeout=60)[1]
