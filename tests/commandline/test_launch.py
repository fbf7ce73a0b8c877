"""The SLURM scripts against a scheduler that imitates one: srun and scontrol are programs of this test."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / "experiments" / "launch"
PYTHON = """#!/bin/bash
# Stands for the run: says what it was given, ends as $ENDS says, with 143 after SIGTERM.
echo "run of ${SLURM_PROCID:-${SLURM_ARRAY_TASK_ID:-}}: $*" >> "$SAID"
trap 'echo saved >> "$SAID"; exit 143' TERM
for i in $(seq 20); do [ "$ENDS" = wait ] && sleep 0.1; done
[ "$ENDS" = wait ] && exit 0
exit $ENDS
"""
SRUN = """#!/bin/bash
shift  # its own flag
worst=0
for i in 0 1; do SLURM_PROCID=$i SLURM_NTASKS=2 "$@" & pids="${pids:-} $!"; done
for pid in $pids; do wait $pid; code=$?; [ $code -gt $worst ] && worst=$code; done
exit $worst
"""
SCONTROL = '#!/bin/bash\necho "scontrol $*" >> "$SAID"\n'


@pytest.fixture
def start(tmp_path):
    for name, text in (("python", PYTHON), ("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def start(script, *arguments, ends):
        job = {"SLURM_JOB_ID": "5", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3"}
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SAID": str(tmp_path / "said"), "ENDS": ends}
        return subprocess.Popen(["bash", LAUNCH / script, *arguments], env=os.environ | job | path)

    return start


def said(folder):
    return (folder / "said").read_text().splitlines() if (folder / "said").is_file() else []


@pytest.mark.parametrize("ends", ["0", "1"])
def test_array(tmp_path, start, ends):
    assert start("slurm_array.sh", "my list.txt", "out", "--steps=3", ends=ends).wait(20) == int(ends)
    assert said(tmp_path) == ["run of 3: -m experiments.run --portraits=my list.txt --workdir=out --steps=3"]


def test_a_stopped_task_of_an_array_is_queued_again(tmp_path, start):
    job = start("slurm_array.sh", "list.txt", "out", ends="wait")
    while not said(tmp_path):
        time.sleep(0.02)
    time.sleep(0.3)
    job.send_signal(signal.SIGTERM)
    assert job.wait(20) == 143
    assert said(tmp_path)[1:] == ["saved", "scontrol requeue 5_3"]


@pytest.mark.parametrize(("ends", "again"), [("0", 0), ("2", 0), ("75", 1), ("143", 1)])
def test_pod(tmp_path, start, ends, again):
    assert start("slurm_pod.sh", "--steps=3", ends=ends).wait(20) == int(ends)
    runs = sorted(line for line in said(tmp_path) if line.startswith("run"))
    assert runs == [f"run of {i}: -m experiments.run --process=auto --steps=3" for i in (0, 1)]
    assert said(tmp_path)[2:] == ["scontrol requeue 5"] * again
