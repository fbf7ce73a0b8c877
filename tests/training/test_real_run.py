"""The runner with all its real parts, scaled down: killed runs and other devices end with the same bits."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from zero1a_jax import outputs
from zero1a_jax.training import checkpoint

ROOT = Path(__file__).parents[2]
STEPS = 61  # two updates of the dataset, at 30 and 60
OPTIONS = (
    "--image=synthetic:7",
    f"--steps={STEPS}",
    "--update_every=30",
    "--checkpoint_every=8",
    "--size=128",
    "--frames=4",
    "--spatial_samples=2",
    "--synthetic_samples=1",
    "--real_samples=1",
    "--view_interval=12",
    "--synthetic_start=20",
    "--real_start=40",
    "--density_start=20",
    "--density_every=20",
)

pytestmark = pytest.mark.slow


def start(folder: Path, *options: str, cache: str = "cache") -> subprocess.Popen:
    command = [sys.executable, "-m", "experiments.run", "--flagfile=experiments/flagfiles/quickstart.flags"]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder.parent / cache)}
    with open(folder.parent / f"{folder.name}.log", "a") as log:
        return subprocess.Popen(
            [*command, *OPTIONS, *options, f"--workdir={folder}"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def finish(folder: Path, *options: str, cache: str = "cache") -> float:
    """Runs to the end; seconds."""
    begin = time.time()
    assert start(folder, *options, cache=cache).wait(1800) == 0, (
        folder.parent / f"{folder.name}.log"
    ).read_text()[-3000:]
    return time.time() - begin


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run, and how long it takes with compiled programs."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    finish(folder)
    return folder, finish(folder.parent / "again")


def last(folder: Path) -> dict[str, np.ndarray]:
    path = folder / "checkpoints" / f"{STEPS:08d}"
    assert checkpoint.verify(path) == ""
    return dict(sorted(checkpoint.load_arrays(path).items()))


def same(one: Path, other: Path) -> None:
    a, b = last(one), last(other)
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    for video in sorted((one / "videos").iterdir()):
        frames = [outputs.video.read(path)[0] for path in (video, other / "videos" / video.name)]
        np.testing.assert_array_equal(*frames, err_msg=video.name)


def test_the_same_seed_gives_the_same_bits(whole):
    folder, _ = whole
    same(folder, folder.parent / "again")


def test_ten_kills_change_nothing(whole):
    """A run that ends between two kills is compared, and the next ones hit another."""
    folder, seconds = whole
    luck, kills, number, reached = random.Random(0), 0, 0, []
    while kills < 10:
        killed = folder.parent / f"killed{number}"
        process = start(killed)
        time.sleep(luck.uniform(0.02, 0.5) * seconds)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
            reached.append(max(checkpoint.steps(killed / "checkpoints"), default=-1))
        process.wait()
        if kills == 10 or (killed / "metrics.json").exists():
            finish(killed)
            same(folder, killed)
            number += 1
    print(f"{kills} kills in {number} runs of {seconds:.0f} s; last checkpoints before them: {reached}")


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_devices_do_not_change_a_bit(whole, devices):
    """Against the default, which is as many as there are cores. Nor does compiling anew."""
    folder, _ = whole
    other = folder.parent / f"devices{devices}"
    finish(other, f"--host_devices={devices}", cache=f"cache{devices}")
    same(folder, other)


def test_two_processes_of_two_devices_do_not_change_a_bit(whole):
    folder, _ = whole
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    shared = ("--host_devices=2", f"--coordinator={address}", "--patience=1200")
    others = [folder.parent / f"process{i}" for i in range(2)]  # process 1 has a folder for its log alone
    both = [start(other, *shared, f"--process={i}/2") for i, other in enumerate(others)]
    assert [process.wait(3600) for process in both] == [0, 0], [
        (folder.parent / f"{other.name}.log").read_text()[-2000:] for other in others
    ]
    same(folder, others[0])
    assert sorted(path.name for path in others[1].rglob("*")) == ["logs", "process_1.txt"]
