"""A signal while frames are made leaves a playable video of those that were done, and a sentence."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zero1a_jax.commandline import progress
from zero1a_jax.outputs import video

ROOT = Path(__file__).parents[2]
# The renderer is replaced by one that takes a while a frame and needs no compilation.
PROGRAM = """
import sys, time, types
import numpy as np
from experiments import animate
from zero1a_jax.commandline import command
from zero1a_jax.flame import procedural_head, zero_params
from zero1a_jax.showing import animation
from zero1a_jax.sources import avatars

head = procedural_head()
shape = np.zeros(np.shape(head.shape_basis)[2], np.float32)
loaded = types.SimpleNamespace(model=head, avatar=types.SimpleNamespace(shape=shape), meta={}, arkit=None)
avatars.load = lambda *rest: loaded
animation.movement = lambda *rest, **more: zero_params(head, (500,))

def slow(*rest):
    for index in range(500):
        if index == 5:
            print("going", flush=True)
        time.sleep(0.05)
        yield np.full((64, 64, 3), index % 256, np.uint8)

animation.pictures = slow
command.run(animate.Options, animate.main, "")
"""


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_video_is_playable(number, code, tmp_path):
    out = tmp_path / "a.mp4"
    line = [sys.executable, "-c", PROGRAM, "--avatar=x", "--motion=x.csv", "--size=64", f"--out={out}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(line, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == "going\n"
        process.send_signal(number)
        _, error = process.communicate(timeout=100)
    assert process.returncode == code, error
    assert "Traceback" not in error
    said = re.search(r"error: stopped: .*a\.mp4 is whole, of (\d+) of 500 frames", error)
    assert said, error
    frames, _ = video.read(out)
    assert len(frames) == int(said[1]) and 4 <= len(frames) < 500
    assert {path.name for path in tmp_path.iterdir()} <= {"a.mp4", ".zero1a_written.json"}


def test_progress_tells_rate_and_time_left(capsys):
    now = iter([100.0, 101.0, 112.0, 124.0])
    report = progress.reporter("frames", clock=lambda: next(now))
    for done in (1, 2, 13, 25):
        report(done, 25)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "frames: 1 of 25",
        "frames: 13 of 25, 1 a second, 12 s left",
        "frames: 25 of 25, 1 a second",
    ]
