"""Ctrl-C, SIGTERM and SIGHUP: the state is kept, no process is left, and the exit code says which signal it was."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from relple_tf import command_line

ROOT = Path(__file__).parents[1]
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
# A shell that starts the tests in the background makes them ignore Ctrl-C, and their children with them.
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
    """Exit code, and what it wrote since the last line that was read."""
    with process:
        return process.wait(60), process.stdout.read(), process.stderr.read()


def command(work="time.sleep(600)", clean_up="pass", before=""):
    process = start(before + COMMAND.format(work=work, clean_up=clean_up))
    assert process.stdout.readline() == "at work\n"
    return process


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_cleans_up_and_gives_its_exit_code(number):
    process = command()
    process.send_signal(number)
    assert ended(process) == (128 + number, "cleaning up\nclean\n", "stopped\n")


@pytest.mark.parametrize("first", ENDING)
@pytest.mark.parametrize("second", ENDING)
def test_a_second_signal_does_not_disturb_the_clean_up(first, second):
    """A terminal and `timeout` send two; the clean-up waits here until it has seen the second one."""
    process = start(COMMAND.format(work="time.sleep(600)", clean_up="sys.stdin.readline()"), stdin=subprocess.PIPE)
    assert process.stdout.readline() == "at work\n"
    process.send_signal(first)
    assert process.stdout.readline() == "cleaning up\n"
    process.send_signal(second)
    process.stdin.write("\n")
    process.stdin.close()
    assert ended(process) == (128 + first, "clean\n", "stopped\n")


@pytest.mark.parametrize("second", ENDING)
def test_a_second_signal_does_not_change_the_exit_code_at_the_very_end(second):
    """Python gives up its handlers before it takes down the modules, and with them this object."""
    last = f"""
class Last:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, {int(second)})
last = Last()
"""
    process = command(before=last)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (143, "cleaning up\nclean\n", "stopped\n")


def test_a_signal_long_after_the_first_ends_at_once():
    """An exception may be lost in code of others; then the command must not become deaf."""
    attempt = ["try:", "    print('trying', flush=True)", "    time.sleep(600)"]
    attempt += ["except KeyboardInterrupt:", "    print('swallowed', flush=True)"]
    work = "\n        ".join([*attempt, "time.sleep(600)"])
    process = command(work=work, before="from relple_tf import command_line; command_line.CLEAN_UP_S = 0\n")
    assert process.stdout.readline() == "trying\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "swallowed\n"
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (143, "", "")


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_was_ignored_stays_ignored(number):
    """As SIGHUP under nohup."""
    ignore = f"signal.signal({int(number)}, signal.SIG_IGN)\n"
    process = command(work=f"os.kill(os.getpid(), {int(number)})", before=ignore)
    assert ended(process) == (0, "cleaning up\nclean\n", "")


def test_what_a_clean_up_raises_does_not_hide_the_signal():
    """A bar that is drawn on a terminal that is gone, a pool whose process got the signal too."""
    process = command(clean_up="raise OSError(5, 'Input/output error')")
    process.send_signal(signal.SIGHUP)
    assert ended(process) == (129, "cleaning up\n", "stopped\n")


def test_a_command_that_ends_by_itself_leaves_the_handlers_as_they_were():
    before = [signal.getsignal(number) for number in ENDING]
    for main in (lambda arguments: None, lambda arguments: sys.exit(2)):
        with pytest.raises(SystemExit):
            command_line.run(main, [])
    assert [signal.getsignal(number) for number in ENDING] == before


@pytest.mark.parametrize("size", [10, 1 << 20])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_standard_output_is_one_line(size):
    """Of a few bytes Python learns it at the end only."""
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
    assert done.stderr == "error: standard output: No space left on device; correct that, or choose another --out\n"


def test_what_is_said_on_a_full_disk_ends_nothing():
    code = "from relple_tf.command_line import run, say\nrun(lambda arguments: say('x' * 9999), [])\n"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stderr=full, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
    assert done.returncode == 0


def test_a_signal_while_a_process_starts_takes_effect_after_it():
    """Half a process writes a traceback."""
    code = (
        "from relple_tf.command_line import run\nfrom relple_tf import processes\n"
        "def main(arguments):\n"
        "    with processes._signals_held():\n"
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
    """Numbers of all processes below one."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return children + [below for child in children for below in descendants(child)]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for the children of a process")
@pytest.mark.parametrize(
    ("module", "number"),
    [("relple_tf.train", signal.SIGTERM), ("relple_tf.compare", signal.SIGHUP), ("tuning.search", signal.SIGINT)],
)
def test_a_command_with_workers_ends_by_a_signal(module, number, tmp_path):
    """To the process alone, as `kill` sends it; its networks would be trained for hours."""
    out = tmp_path / "out"
    fields = [f"--set={field}" for field in FIELDS]
    process = start(AS_MODULE, module, *COMMANDS[module], *DATA, *fields, "--out", out)
    # Two workers, and what tracks the semaphores of them all.
    assert wait_until(lambda: len(descendants(process.pid)) >= 3 or process.poll() is not None)
    below = descendants(process.pid)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)  # until every process that has this stderr has ended
    assert process.returncode == 128 + number, err
    assert err.splitlines()[-2:] == [
        f"interrupted; continue with: python -m {module} --out {out} --resume"
        + (" --set comparison.workers=2" if "compare" in module else ""),
        "stopped",
    ]
    assert "leaked" not in err
    assert "Traceback" not in err
    assert wait_until(lambda: not any(alive(pid) for pid in below))
    assert (out / "config.toml").exists()
    assert not (out / "manifest.json").exists()
    assert not list(out.rglob(".unfinished-*"))


def test_a_process_that_draws_a_bar_and_is_killed_leaves_no_semaphore():
    """As a worker is at the end of a command; the tracker of semaphores would warn on stderr."""
    code = "from relple_tf.progress import tqdm\nbar = tqdm()\nprint('drawn', flush=True); time.sleep(600)"
    process = start(code)
    assert process.stdout.readline() == "drawn\n"
    process.kill()
    assert "leaked" not in process.communicate(timeout=60)[1]
