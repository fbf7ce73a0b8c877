"""Many portraits on several workers, with a program for a run that takes a blink."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zero1a_jax.commandline import many
from zero1a_jax.errors import Refused

ROOT = Path(__file__).parents[2]
RUN = """
import json, signal, sys, time
from pathlib import Path
from zero1a_jax import lock
from zero1a_jax.errors import Refused

flags = dict(line[2:].split("=", 1) for line in open(sys.argv[2].split("=", 1)[1]) if line.startswith("--"))
folder = Path(flags["workdir"].strip())
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit(143)))  # it saves
try:
    with lock.held(folder):
        if "broken" in flags["image"]:
            print("error: No face was found in it", file=sys.stderr)
            sys.exit(2)
        with open(folder.parent / "begun.txt", "a") as file:
            print(folder.name, file=file)
        time.sleep(0.3)
        (folder / "metrics.json").write_text(json.dumps({"portrait_psnr_masked": 30.0, "steps": 1}))
except Refused as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
"""
WORKER = """
import sys
from zero1a_jax.commandline import command, many, subrun
from experiments import run

subrun.PROGRAM = (sys.executable, sys.argv.pop(1))
many.PATIENCE, many.PAUSE = 20, 0.1
command.run(run.Options, run.main, None, problems=run.problems)
"""


@pytest.fixture
def worker(tmp_path):
    """worker(*flags) starts a worker over tmp_path/list.txt."""
    program = tmp_path / "program.py"
    program.write_text(RUN)

    def start(*flags, **environment):
        line = [sys.executable, "-c", WORKER, str(program), f"--portraits={tmp_path / 'list.txt'}"]
        line += [f"--workdir={tmp_path / 'all'}", *flags]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(
            line, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)} | environment, **pipes
        )

    return start


def portraits(folder, count, broken):
    names = [f"broken {i}.png" if i in broken else f"person é {i}.png" for i in range(count)]
    (folder / "list.txt").write_text("# people\n\n" + "\n".join(names) + "\n")


def test_two_workers_one_killed_on_the_way(tmp_path, worker):
    portraits(tmp_path, 20, broken=(3, 8, 15))
    two = [worker("--shard=/2", SLURM_ARRAY_TASK_ID="10", SLURM_ARRAY_TASK_MIN="10"), worker("--shard=1/2")]
    while len(list((tmp_path / "all").glob("*/metrics.json"))) < 4:
        time.sleep(0.02)
    two[0].kill()
    two[0].communicate()
    again = worker("--shard=0/2")
    texts = [process.communicate(timeout=100) for process in (again, two[1])]
    assert [again.returncode, two[1].returncode] == [1, 1], texts
    assert "9 of 10 avatars are done, 1 failed" in texts[0][0]
    assert "8 of 10 avatars are done, 2 failed" in texts[1][0]
    assert "00003_broken-3: failed: No face was found in it (exit code 2" in texts[1][0]
    begun = (tmp_path / "all" / "begun.txt").read_text().split()
    assert len(set(begun)) == 17 and len(begun) <= 18  # the killed worker's avatar alone began twice
    rerun = worker("--shard=0/1", "--image=synthetic:7")  # as flag files for one portrait have it
    text, _ = rerun.communicate(timeout=100)
    assert "not --image=synthetic:7" in text
    assert rerun.returncode == 1 and "17 of 20 avatars are done, 3 failed" in text
    assert (tmp_path / "all" / "begun.txt").read_text().split() == begun
    table = worker("--mode=summary")
    text, _ = table.communicate(timeout=100)
    assert table.returncode == 0 and text.startswith("17 done, 3 failed, 0 begun, 0 missing")
    states = json.loads((tmp_path / "all" / "summary.json").read_text())
    assert [found["state"] for found in states].count("done") == 17 and "No face" in states[8]["reason"]
    assert (tmp_path / "all" / "summary.md").read_text() in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_a_signal_reaches_the_run_once(tmp_path, worker, number):
    portraits(tmp_path, 3, broken=())
    process = worker()
    while not (tmp_path / "all" / "begun.txt").is_file():
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number and "stopped by" in error and "Traceback" not in error
    assert "Traceback" not in error and len(error.splitlines()) == 1


def test_lists(tmp_path):
    portraits(tmp_path, 2, broken=())
    names = [task.name for task in many.tasks(str(tmp_path / "list.txt"))]
    assert names == ["00000_person-0", "00001_person-1"]
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfsynthetic:3\r\n/abs/a.png\r\n")
    found = many.tasks(str(tmp_path / "list.txt"))
    assert [task.image for task in found] == ["synthetic:3", "/abs/a.png"]
    assert found[0].name == "00000_synthetic-3"
    for name in ("b.JPG", "a.png", "notes.txt", "._a.png"):
        (tmp_path / name).write_text("")
    assert [task.name for task in many.tasks(str(tmp_path))] == ["00000_a", "00001_b"]


@pytest.mark.parametrize("text", ["no list", "", "# nothing\n"])
def test_no_portraits(tmp_path, text):
    path = tmp_path / "list.txt"
    if text != "no list":
        path.write_text(text)
    with pytest.raises(Refused, match="check --portraits"):
        many.tasks(str(path))


ARRAY = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "2"}


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("", {}, (0, 1)),
        ("2/5", {"SLURM_PROCID": "1", "SLURM_NTASKS": "3"}, (2, 5)),
        ("", {"SLURM_PROCID": "1", "SLURM_NTASKS": "3"}, (1, 3)),
        ("", ARRAY | {"SLURM_ARRAY_TASK_COUNT": "4", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, (3, 4)),
        ("/6", {"JOB_COMPLETION_INDEX": "4"}, (4, 6)),
        ("", {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
    ],
)
def test_shards(text, environment, expected):
    assert many.shard_of(text, environment) == expected


@pytest.mark.parametrize(
    ("text", "environment"),
    [("3", {}), ("/4", {}), ("4/4", {}), ("-1/4", {}), ("0/0", {}), ("", {"JOB_COMPLETION_INDEX": "1"})],
)
def test_shards_that_are_none(text, environment):
    with pytest.raises(Refused, match="shard"):
        many.shard_of(text, environment)


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--shard=5/2", "below the second"),
        ("--mask=matte.png", "of one portrait"),
        ("--process=auto", "leave --process out"),
    ],
)
def test_wrong_options(tmp_path, worker, flag, reason):
    portraits(tmp_path, 2, broken=())
    process = worker(flag)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2 and reason in error and not (tmp_path / "all").exists()
