"""Two processes of two devices make the bits of one; a lost one ends the other; the next start goes on."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from zero1a_jax import outputs
from zero1a_jax.commandline import environment as environment_of
from zero1a_jax.training import checkpoint, processes

FAKES = Path(__file__).parents[1] / "fakes.py"
# Small enough that two processes fit into a minute of CI: nothing compiles twice.
CUT = "steps=8 checkpoint_every=2 update_every=3 density_every=4 density_start=4 patience=20".split()
# What compiles least: the dataset is made once, no Gaussian is split.
QUICK = ("method=one_time", "density_every=0", "steps=14")
LIMIT = 900


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """start(folder, *options, count=, devices=, own=) gives processes; `own` are options of the second."""
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("xla")))
    started = []

    def start(folder, *options, count=2, devices=2, own=()):
        environment = os.environ | {
            "NPROC": str(environment_of.THREADS),
            "PYTHONPATH": str(FAKES.parents[1]),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} "
            + " ".join([*environment_of.ONE_ORDER, "--xla_backend_optimization_level=0"]),
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        made = []
        for process in range(count):
            line = [sys.executable, str(FAKES), str(folder), *CUT, *options]
            line += [f"process={process}/{count}", f"coordinator={address}"] if count > 1 else []
            line += own if process == 1 else ()
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            made.append(subprocess.Popen(line, env=environment, **pipes))
        started.extend(made)
        return made

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def ends(started, codes):
    texts = [process.communicate(timeout=LIMIT)[0] for process in started]
    assert [process.returncode for process in started] == codes, "\n\n".join(texts)
    return texts


def wait_for(path, started):
    while not list(path.parent.glob(path.name)):
        assert all(process.poll() is None for process in started), ends(started, [])
        time.sleep(0.05)


def same_bits(one, other):
    last = max(checkpoint.steps(one / "checkpoints"))
    a, b = (checkpoint.load_arrays(folder / "checkpoints" / f"{last:08d}") for folder in (one, other))
    assert sorted(a) == sorted(b) and len(a) > 30
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    for video in sorted((one / "videos").iterdir()):
        frames = [outputs.video.read(path)[0] for path in (video, other / "videos" / video.name)]
        np.testing.assert_array_equal(*frames, err_msg=video.name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, start):
    """The run of one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    ends(start(folder, count=1), [0])
    return folder


@pytest.mark.parametrize("options", [QUICK, pytest.param((), marks=pytest.mark.slow)], ids=["quick", "whole"])
def test_killed_and_started_again_two_processes_make_the_bits_of_one(tmp_path, start, options):
    folder, alone = tmp_path / "run", tmp_path / "alone"
    one = start(alone, *options, count=1)
    wait_for(alone / "checkpoints" / "00000002", one)  # what it compiled for steps is kept: both read that
    both = start(folder, *options)
    wait_for(folder / "checkpoints" / "00000002", both)
    both[1].kill()
    said = ends(both, [processes.LOST, -signal.SIGKILL])[0]
    assert "process 0: another process has ended" in said and "start the same command" in said
    assert "Traceback" not in said
    again, quiet = ends(start(folder, *options), [0, 0])
    assert "resuming at step" in again and "rendering the results" in again
    assert "step" not in quiet
    ends(one, [0])
    same_bits(alone, folder)
    last = max(checkpoint.steps(folder / "checkpoints"))
    assert f"step {last}" in (folder / "logs" / "process_1.txt").read_text()


@pytest.mark.slow
def test_another_number_of_processes_and_devices_goes_on(tmp_path, start, alone):
    folder = tmp_path / "run"
    both = start(folder)
    wait_for(folder / "checkpoints" / "00000002", both)
    both[0].kill()
    begin = time.monotonic()
    code = both[1].wait(LIMIT)
    # jax's own client of process 0 may abort before we see that the exchange is broken.
    assert code in (processes.LOST, -signal.SIGABRT) and time.monotonic() - begin < 20
    assert "resuming at step" in ends(start(folder, count=1, devices=4), [0])[0]
    same_bits(alone, folder)


@pytest.mark.slow
@pytest.mark.parametrize("stalled", [0, 1])
def test_a_stalled_process_ends_the_other(tmp_path, start, alone, stalled):
    folder = tmp_path / "run"
    both = start(folder)
    wait_for(folder / "checkpoints" / "00000002", both)
    both[stalled].send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    other = both[1 - stalled]
    text, _ = other.communicate(timeout=LIMIT)
    assert other.returncode == processes.LOST, text
    assert time.monotonic() - begin < 50  # patience=20
    assert f"process {stalled} has" in text and "20 seconds" in text
    both[stalled].kill()
    ends(start(folder), [0, 0])
    same_bits(alone, folder)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=str)
@pytest.mark.parametrize("which", [0, 1])
def test_a_signal_to_one_saves_and_ends_all(tmp_path, start, alone, number, which):
    folder = tmp_path / "run"
    both = start(folder, "checkpoint_every=1000")
    wait_for(folder / "checkpoints" / "00000000", both)
    wait_for(folder / "logs" / "process_1.txt", both)
    while "step 2" not in (folder / "logs" / "process_1.txt").read_text():
        time.sleep(0.05)
    both[which].send_signal(number)
    said = ends(both, [128 + number] * 2)[0]
    assert f"stopped by signal {int(number)} at step" in said
    assert max(checkpoint.steps(folder / "checkpoints")) > 0
    ends(start(folder, "checkpoint_every=1000"), [0, 0])
    same_bits(alone, folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("own", "reason"), [(["seed=1"], "other flags"), (["log_every=3"], "other flags")], ids=["seed", "log"]
)
def test_processes_with_other_flags_are_refused(tmp_path, start, own, reason):
    for text in ends(start(tmp_path / "run", own=own), [2, 2]):
        assert f"process 1 has {reason} than process 0" in text and "Traceback" not in text
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
def test_all_are_told_what_process_0_cannot_read(tmp_path, start, alone):
    folder = tmp_path / "run"
    ends(start(folder), [0, 0])
    (folder / "metrics.json").unlink()
    for path in (folder / "checkpoints").rglob("manifest.json"):
        path.unlink()
    for text in ends(start(folder), [2, 2]):
        assert "can be read" in text and "manifest is missing" in text


@pytest.mark.slow
def test_who_never_comes_is_waited_for_no_longer_than_patience(tmp_path, start):
    first = start(tmp_path / "run", "patience=5")
    first[1].kill()
    text, _ = first[0].communicate(timeout=LIMIT)
    assert first[0].returncode == 2 and "did not find each other" in text, text
