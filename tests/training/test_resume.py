"""Real processes on fakes: killed runs and runs on more devices end with the same bits."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from zero1a_jax import outputs
from zero1a_jax.commandline import environment as environment_of
from zero1a_jax.training import checkpoint, rounds

FAKES = Path(__file__).parents[1] / "fakes.py"
ROOT = FAKES.parents[1]
STEPS = 90


def start(folder, *options, devices=1):
    environment = os.environ | {
        "NPROC": str(environment_of.THREADS),
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": " ".join(
            [f"--xla_force_host_platform_device_count={devices}", *environment_of.ONE_ORDER]
        ),
        "JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR", str(folder.parent / "xla")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }
    command = [sys.executable, str(FAKES), str(folder), f"steps={STEPS}", "checkpoint_every=3", *options]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment, **pipe)


def finished(process):
    text, _ = process.communicate(timeout=900)
    assert process.returncode == 0, text
    return text


def arrays(folder):
    last = folder / "checkpoints" / f"{STEPS:08d}"
    assert checkpoint.verify(last) == ""
    return dict(sorted(checkpoint.load_arrays(last).items()))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    finished(start(folder))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "number"), [(50, signal.SIGKILL), (10, signal.SIGTERM)], ids=["50 kill -9", "10 SIGTERM"]
)
def test_stops_at_any_moment_change_nothing(uninterrupted, count, number):
    """After a random line of output and a random while: filling, stepping, refreshing, saving, deleting."""
    folder, luck, sent, reached = uninterrupted.parent / number.name, random.Random(0), 0, set()
    while sent < count:
        process = start(folder)
        for _ in range(luck.randint(1, 4)):
            process.stdout.readline()
        time.sleep(luck.uniform(0.0, 0.4))
        if process.poll() is None:
            process.send_signal(number)
            sent += 1
        process.communicate()
        assert process.returncode in (-signal.SIGKILL, 128 + signal.SIGTERM, -signal.SIGTERM, 0)
        reached |= set(checkpoint.steps(folder / "checkpoints"))
        if (folder / "metrics.json").exists():  # once more from the start
            same_run(uninterrupted, folder)
            shutil.rmtree(folder)
    print(f"{sent} of {number.name}; checkpoints seen: {sorted(reached)}")
    assert len(reached) >= 3
    finished(start(folder))
    same_run(uninterrupted, folder)


def same_run(one, other):
    a, b = arrays(one), arrays(other)
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    for video in sorted((one / "videos").iterdir()):
        frames = [outputs.video.read(path)[0] for path in (video, other / "videos" / video.name)]
        np.testing.assert_array_equal(*frames, err_msg=video.name)
    kept = [{p.name: p.read_bytes() for p in (f / rounds.FOLDER).iterdir()} for f in (one, other)]
    assert kept[0] == kept[1] and len(kept[0]) == STEPS // 3  # earlier rounds too
    plys = [
        (folder / "export" / "avatar.ply").read_bytes().partition(b"end_header") for folder in (one, other)
    ]
    assert plys[0][2] and plys[0][2] == plys[1][2]  # the header has a date


@pytest.mark.slow
def test_everything_that_shows_the_person_says_that_it_is_synthetic(uninterrupted):
    shown = [path for path in uninterrupted.rglob("*") if path.suffix in (".mp4", ".png", ".html", ".ply")]
    small = list((uninterrupted / rounds.FOLDER).iterdir())
    assert small and all(b"trainedAlgorithmicMedia" in path.read_bytes() for path in small)
    assert len(shown) >= 10
    for path in shown:
        assert b"synthetic: made by zero1a_jax" in path.read_bytes(), path
    meta = json.loads((uninterrupted / "export" / "avatar.json").read_text())
    assert meta["provenance"]["seed"] == 0 and meta["caption"].startswith("a person with ")


@pytest.mark.slow
def test_sigterm_saves_and_the_next_start_goes_on(uninterrupted):
    folder = uninterrupted.parent / "terminated"
    process = start(folder, "checkpoint_every=1000")
    while process.poll() is None and not list((folder / "checkpoints").glob("00000000")):
        time.sleep(0.05)
    for line in process.stdout:
        if line.startswith("step "):
            break
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM, text
    stopped = max(checkpoint.steps(folder / "checkpoints"))
    assert 0 < stopped < STEPS
    assert f"resuming at step {stopped}" in finished(start(folder, "checkpoint_every=1000"))
    same_run(uninterrupted, folder)


@pytest.mark.slow
def test_four_devices_make_the_same_bits(uninterrupted):
    folder = uninterrupted.parent / "four"
    finished(start(folder, devices=4))
    same_run(uninterrupted, folder)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["split_frames=True", "sums=fast"])
def test_what_is_outside_of_the_contract_agrees(uninterrupted, option):
    folder = uninterrupted.parent / option
    assert "bits depend on the number of devices" in finished(start(folder, option, devices=4))
    one, four = arrays(uninterrupted), arrays(folder)
    fields = [name for name in one if name.startswith("state.avatar.gaussians.")]
    assert len(fields) == 5
    for name in fields:
        drift = np.linalg.norm(one[name] - four[name]) / np.linalg.norm(one[name])
        print(f"{name}: {100 * drift:.3f} %")
        assert drift < 0.01, name
    difference = np.abs(one["dataset.rgb"].astype(int) - four["dataset.rgb"].astype(int))
    assert difference.mean() < 1.0
