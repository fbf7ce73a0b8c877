"""run, prepare, animate and export, stopped: a sentence, nothing half done, nothing of the user's changed.

Ctrl-C and SIGTERM at random moments, a full disk, and two processes in one folder; with -s it says what each
did. "fakes" is the same run on tests/fakes.py, which takes seconds: for more moments.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from zero1a_jax import lock, record
from zero1a_jax.outputs import video

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CUT = (
    "--steps=60 --synthetic_start=20 --real_start=40 --view_interval=10 --update_every=20 --density_every=20 "
    "--density_start=20 --checkpoint_every=30 --frames=4 --samples_per_update=2 --spatial_samples=2 "
    "--synthetic_samples=1 --real_samples=1 --size=128"
).split()
FAKES = """
import dataclasses, runpy, sys
from zero1a_jax import lock
from zero1a_jax.commandline import command
from zero1a_jax.config import option

@dataclasses.dataclass(frozen=True)
class Options:
    workdir: str = option("", "folder of the run")

def main(options):
    with lock.held(options.workdir):
        run = runpy.run_path("tests/fakes.py")["main"]
        return run([options.workdir, "steps=60", "checkpoint_every=30"])

command.run(Options, main, "a run on fakes")
"""
# How many random moments of the time that the command takes.
MOMENTS = {"run": 3, "fakes": 8, "prepare": 5, "animate": 5, "export": 5}
COMMANDS = tuple(MOMENTS)
SMALL = 1 << 20  # bytes of the disk that fills up, but for run
WAIT = 3000  # seconds; a run on a slow core, with nothing compiled, takes many minutes


def arguments(command, folder, avatar):
    """The command line whose outputs go into `folder`."""
    return {
        "prepare": ["--image=synthetic:3", "--size=96", f"--out={folder / 'prepared'}"],
        "animate": [f"--avatar={avatar}", "--motion=demo", "--size=128", f"--out={folder / 'demo.mp4'}"],
        "export": [f"--avatar={avatar}", "--pose=jawOpen:0.6", f"--out={folder}"],
        "fakes": [f"--workdir={folder / 'run'}"],
        "run": ["--flagfile=quickstart.flags", *CUT, f"--workdir={folder / 'run'}"],
    }[command]


def start(command, *rest):
    program = ["-c", FAKES] if command == "fakes" else ["-m", f"experiments.{command}"]
    line = [sys.executable, *program, *rest]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, cwd=ROOT, **pipes)


def users(folder):
    """A folder with files that a user has beside outputs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes é.txt").write_text("mine")
    (folder / "face.csv").write_bytes(os.urandom(5000))
    (folder / ".hidden").write_text("mine too")
    return {path.name: digest(path) for path in folder.iterdir()}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(folder, mine, error):
    """What must hold after every end."""
    assert "Traceback" not in error and "Exception ignored" not in error, error
    assert {name: digest(folder / name) for name in mine} == mine
    for path in folder.rglob("*"):
        assert not path.name.startswith((".zero1a_unfinished", ".saving", ".deleting", lock.NAME)), path
        assert path.suffix not in (".tmp", ".part") and "orbax-checkpoint-tmp" not in path.name, path
        if path.is_file() and path.name not in mine:
            whole(path)


def whole(path):
    """Reads an output to its end."""
    if path.name.startswith("."):
        assert path.name == record.NAME, path  # no temporary file of ours
    if path.suffix == ".json":
        json.loads(path.read_text("utf-8"))
    if path.suffix == ".npz" and path.stat().st_size:  # fakes have no portrait: theirs is empty
        with np.load(path) as arrays:
            assert all(arrays[name] is not None for name in arrays)
    if path.suffix == ".mp4":
        assert len(video.read(path)[0]) > 0  # a signal may have ended it early
    if path.name == "metrics.json":
        assert (path.parent / "report.html").is_file()


def told(command, moment, number, code, error, folder):
    left = sorted(path.name for path in folder.rglob("*") if path.is_file())
    print(f"{command} {moment} {number}: exit code {code}; {error.strip()!r}; {len(left)} files")


@pytest.fixture(scope="module")
def avatar(tmp_path_factory, exported):
    colours = np.random.default_rng(0).normal(size=(20_000, 1, 3))
    from zero1a_jax.flame import procedural_head

    count = len(procedural_head().faces)
    return exported(tmp_path_factory.mktemp("avatar"), np.zeros(10), colours[:count])


@pytest.fixture(scope="module")
def seconds(tmp_path_factory, avatar):
    """How long each command takes once its programs are kept."""
    known = {}

    def measure(command):
        for _ in range(0 if command in known else 1 if command == "run" else 2):
            folder = tmp_path_factory.mktemp(command)
            begin = time.monotonic()
            process = start(command, *arguments(command, folder, avatar))
            _, error = process.communicate(timeout=WAIT)
            assert process.returncode == 0, error
            known[command] = time.monotonic() - begin
        return known[command]

    return measure


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_at_any_moment(tmp_path, avatar, seconds, command, number):
    length = seconds(command)
    for moment in np.random.default_rng().uniform(0, 1, MOMENTS[command]).round(3):
        folder = tmp_path / str(moment)
        mine = users(folder)
        process = start(command, *arguments(command, folder, avatar))
        time.sleep(max(moment * length, 1.0))
        process.send_signal(number)
        out, error = process.communicate(timeout=WAIT)
        told(command, moment, number.name, process.returncode, error or out, folder)
        check(folder, mine, error)
        assert process.returncode in (0, 128 + number)
        if process.returncode:
            said = error or out  # a run that saved says so in its log
            assert "stopped by" in said and len(error.splitlines()) <= 1, (out, error)
    process = start(command, *arguments(command, folder, avatar))  # and the same command does it
    _, error = process.communicate(timeout=WAIT)
    assert process.returncode == 0, error
    check(folder, mine, error)


@pytest.fixture
def disk(tmp_path):
    """A disk of its own: `disk(bytes)` gives its folder."""
    mounted = []

    def make(size):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        line = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(line, capture_output=True).returncode:
            pytest.skip("only root may mount a small disk")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("command", ["prepare", "animate", "export"])
def test_a_full_disk(disk, avatar, command):
    """Less room than the outputs need, down to none."""
    ended = []
    for room in (0, 4096, 16384, 40960, 100_000, SMALL // 2):
        folder = disk(SMALL)
        mine = users(folder)
        filler = folder / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(folder).free - room))
        mine["filler"] = digest(filler)
        process = start(command, *arguments(command, folder, avatar))
        _, error = process.communicate(timeout=WAIT)
        told(command, room, "bytes free", process.returncode, error, folder)
        check(folder, mine, error)
        ended.append(process.returncode)
        if process.returncode:
            assert process.returncode == 1 and "No space left on device" in error, error
            assert len(error.splitlines()) == 1
    assert ended[0] == 1


@pytest.mark.parametrize("command", ["run", "fakes"])
def test_a_disk_that_fills_up_under_a_run(disk, avatar, command):
    """At each checkpoint and at the results: one sentence, and the same command goes on with room."""
    folder = disk(600 << 20)
    mine = users(folder)
    filler = folder / "filler"
    line = arguments(command, folder, avatar)
    for wanted in (
        "config.json",
        "checkpoints/00000000/manifest.json",
        "checkpoints/00000030/manifest.json",
        "videos/*",
    ):
        process = start(command, *line)
        while process.poll() is None and not list((folder / "run").glob(wanted)):
            time.sleep(0.05)
        filler.write_bytes(b"")
        with open(filler, "ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        out, error = process.communicate(timeout=WAIT)
        told(command, wanted, "full", process.returncode, error, folder)
        mine["filler"] = digest(filler)
        assert process.returncode in (0, 1) and len(error.splitlines()) == process.returncode, error
        check(folder, mine, error)
        del mine["filler"]
        filler.unlink()
    process = start(command, *line)
    _, error = process.communicate(timeout=WAIT)
    assert process.returncode == 0, error
    check(folder, mine, error)
    assert (folder / "run" / "metrics.json").is_file()


@pytest.mark.parametrize("command", COMMANDS)
def test_two_processes_in_one_folder(tmp_path, avatar, command):
    mine = users(tmp_path)
    first = start(command, *arguments(command, tmp_path, avatar))
    while first.poll() is None and not list(tmp_path.rglob(f"{lock.NAME}*")):
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)  # so that it still writes when the second comes to it
    second = start(command, *arguments(command, tmp_path, avatar))
    _, error = second.communicate(timeout=WAIT)
    first.send_signal(signal.SIGCONT)
    _, error_of_first = first.communicate(timeout=WAIT)
    told(command, "second", "of two", second.returncode, error, tmp_path)
    assert first.returncode == 0, error_of_first
    assert second.returncode in (1, 2) and "another process writes" in error
    assert len(error.splitlines()) == 1
    check(tmp_path, mine, error)
