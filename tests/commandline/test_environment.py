"""What decides bits is set before jax is imported, or not at all."""

import os
import subprocess
import sys

import pytest

from zero1a_jax.commandline import environment


def test_environment_is_set_before_jax():
    """In fresh processes, since jax reads it once. Sums have the same bits whatever the number of devices."""
    code = (
        "import os, sys\n"
        "from experiments import run\n"
        "from zero1a_jax.commandline import environment\n"
        "assert 'jax' not in sys.modules\n"
        "environment.fix(host_devices=int(sys.argv[1]), deterministic=True)\n"
        "import jax\n"
        "print(os.environ['NPROC'], jax.local_device_count(), jax.config.jax_threefry_partitionable)\n"
        "import numpy as np\n"
        "numbers = np.random.default_rng(0).random((300, 3000), np.float32)\n"
        "print(jax.jit(lambda x: x.sum())(numbers).tobytes())\n"
        "x, y = (np.random.default_rng(1).random((180, n), np.float32) for n in (1024, 3))\n"
        "print(np.asarray(jax.jit(lambda x, y: x.T @ y)(x, y)).tobytes())\n"
    )
    sums = set()
    for devices in ("1", "4", "7"):
        command = [sys.executable, "-c", code, devices]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        fixed, *sums_of = done.stdout.splitlines()
        assert fixed.split() == [str(environment.THREADS), devices, "True"], done.stderr
        sums.add(tuple(sums_of))
    assert len(sums) == 1


@pytest.mark.parametrize(
    "files, found",
    [
        ({}, 6),
        ({"cpu.max": "max 100000\n"}, 6),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 6),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
    ids=str,
)
def test_cores(files, found, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert environment.cores(tmp_path) == found


def test_environment_refuses_a_late_call():
    import jax  # noqa: F401

    with pytest.raises(RuntimeError, match="before jax"):
        environment.fix(host_devices=1, deterministic=True)


def test_every_command_is_of_float32():
    """Also where JAX_ENABLE_X64 is set for other programs."""
    code = (
        "import dataclasses, sys\n"
        "from zero1a_jax.commandline import command\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Options:\n"
        "    pass\n"
        "def main(options):\n"
        "    import jax.numpy as jnp\n"
        "    print(jnp.ones(1).dtype, jnp.arange(2).dtype, (jnp.arange(3) / 2).dtype)\n"
        "command.run(Options, main, '')\n"
    )
    environment = os.environ | {"JAX_ENABLE_X64": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["float32", "int32", "float32"], done.stderr
