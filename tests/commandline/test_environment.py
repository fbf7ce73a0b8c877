"""What decides bits is set before jax is imported, or not at all."""

import os
import subprocess
import sys

import pytest

from zero1a_jax.commandline import environment


def test_environment_is_set_before_jax():
    """In a fresh process, since jax reads it once."""
    code = (
        "import os, sys\n"
        "from experiments import run\n"
        "from zero1a_jax.commandline import environment\n"
        "assert 'jax' not in sys.modules\n"
        "environment.fix(host_devices=2, deterministic=True)\n"
        "import jax\n"
        "print(os.environ['NPROC'], jax.local_device_count(), jax.config.jax_threefry_partitionable)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["1", "2", "True"], done.stderr


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
