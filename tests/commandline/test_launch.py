"""What starts runs elsewhere, as far as it can be tried here.

Scripts run against programs of this test that stand for srun, scontrol and xpk; files are read.
"""

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from experiments import run
from zero1a_jax.commandline import flags

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
XPK = '#!/bin/bash\nprintf "%s\\n" "$@" > "$SAID"\n'
SCONTROL = '#!/bin/bash\necho "scontrol $*" >> "$SAID"\n'


@pytest.fixture
def start(tmp_path):
    for name, text in (("python", PYTHON), ("srun", SRUN), ("scontrol", SCONTROL), ("xpk", XPK)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def start(script, *arguments, ends):
        job = {"SLURM_JOB_ID": "5", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3"}
        path = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SAID": str(tmp_path / "said"), "ENDS": ends}
        job |= {"CLUSTER": "tpus", "IMAGE": "registry/zero1a_jax:tpu"}
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


def checked(container, **variables):
    """The run's options that a container's arguments ask for."""
    assert container["command"] == ["python", "-m", "experiments.run"]
    texts = [re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], text) for text in container["args"]]
    options = flags.parse(run.Options, texts)
    kept = [mount["mountPath"] + "/" for mount in container["volumeMounts"]]
    assert options.run.runner.workdir.startswith(tuple(kept))
    return options


def test_xpk(tmp_path, start):
    given = ["--flagfile=pod.flags", "--image=/data/my portrait.png", "--workdir=/data/avatar"]
    assert start("xpk_pod.sh", "v5litepod-16", *given, ends="0").wait(20) == 0
    lines = said(tmp_path)
    assert lines[:2] == ["workload", "create"] and "--tpu-type=v5litepod-16" in lines
    (command,) = [line.removeprefix("--command=") for line in lines if line.startswith("--command=")]
    program, arguments = shlex.split(command)[:3], shlex.split(command)[3:]
    assert program == ["python", "-m", "experiments.run"] and arguments == ["--process=auto", *given]
    assert flags.parse(run.Options, arguments).run.update.batch == 64


def test_jobset():
    job = yaml.safe_load((LAUNCH / "jobset_pod.yaml").read_text())
    (replicated,) = job["spec"]["replicatedJobs"]
    spec = replicated["template"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    options = checked(container, PROCESS="1")
    assert [each["name"] for each in container["env"]] == ["PROCESS"]
    assert (
        options.run.runner.process == f"1/{spec['completions']}"
        and spec["parallelism"] == spec["completions"]
    )
    name = job["metadata"]["name"]
    host, port = options.run.runner.coordinator.split(":")
    assert host == f"{name}-{replicated['name']}-0-0.{name}"
    assert int(port) == container["ports"][0]["containerPort"]


def test_indexed_job():
    spec = yaml.safe_load((LAUNCH / "indexed_job.yaml").read_text())["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    options = checked(container)
    assert options.shard == f"/{spec['completions']}" and options.portraits.startswith("/data/")


def test_the_image_copies_what_there_is():
    lines = (LAUNCH / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    copied = [name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]]
    assert copied and all((LAUNCH.parents[1] / name).exists() for name in copied)
    needed = {"pyproject.toml", "README.md", "LICENSE", "zero1a_jax", "experiments", "third_party"}
    assert needed <= set(copied)
