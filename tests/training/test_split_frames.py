"""Several devices on the frames of one sample. Devices must exist before jax starts, so this is a process."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_four_devices_share_a_sample():
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    }
    command = [sys.executable, __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)


def main() -> None:
    """A guided refresh of 8 frames on one device and on four: the same frames, a quarter of the work each."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from zero1a_jax import diffusion
    from zero1a_jax.devices import everywhere, over_frames, shared_frames

    spec = importlib.util.spec_from_file_location("small", ROOT / "tests" / "diffusion" / "conftest.py")
    small = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(small)
    config = small.small_config(unet_channels=(32, 32), frame_size=64, window=16)
    params, functions = small.small_model(config), diffusion.build(config)
    keys, devices = jax.random.split(jax.random.key(0), 3), jax.local_devices()
    rgb = jax.random.uniform(keys[0], (64, 64, 3))
    conditions = jax.random.uniform(keys[1], (8, config.condition_size, config.condition_size, 3))
    latents = jax.random.normal(keys[2], (8, config.latent_size, config.latent_size, 4))
    given = jax.jit(functions.reference)(params, rgb)

    def denoise(params, given, latents, conditions):
        return functions.denoise(params, latents, given, conditions, steps=2, guidance=3.5)

    one = jax.jit(denoise)(params, given, latents, conditions)
    assert [len(shared_frames(count, devices)) for count in (8, 6, 5)] == [4, 3, 1]
    four = over_frames(denoise, devices, split=(2, 3), arguments=4)
    params, given = (everywhere(tree, devices) for tree in (params, given))
    result = four(params, given, latents, conditions)
    assert len(result.sharding.device_set) == 4
    error = float(jnp.abs(one - result).max())
    np.testing.assert_allclose(one, result, atol=1e-4)
    whole = jax.jit(denoise).lower(params, given, latents, conditions).compile()
    spread = [jax.device_put(x, result.sharding) for x in (latents, conditions)]
    shared = jax.jit(denoise).lower(params, given, *spread).compile()
    share = shared.cost_analysis()["flops"] / whole.cost_analysis()["flops"]
    size = float(jnp.abs(one).max())
    print(f"4 devices: largest difference {error:.1e} of {size:.1f}, {share:.2f} of the work each")
    assert 0.25 <= share < 0.3


if __name__ == "__main__":
    main()
