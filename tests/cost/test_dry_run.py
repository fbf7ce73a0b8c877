"""--dry_run: what it predicts, and that it allocates no model."""

import jax
import pytest

from zero1a_jax.config import DATA_SHEETS, from_values
from zero1a_jax.cost import datasheets, dry_run, predictions
from zero1a_jax.diffusion import DiffusionConfig, miniature_config


def config_of(**changes):
    return from_values({"image": "synthetic:0", "workdir": "none"} | changes)


@pytest.mark.slow
def test_published_size():
    """16 frames of 512 x 512, 25 + 25 steps, guidance while denoising: 1.56 PFLOP, counted independently."""
    before = sum(array.nbytes for array in jax.live_arrays())
    refresh = config_of(inversion_iterations=1).refresh
    cost = predictions.predict(DiffusionConfig(dtype="bfloat16"), refresh, 16)
    assert sum(array.nbytes for array in jax.live_arrays()) - before < 1e6
    assert cost.refresh.flops.total() == pytest.approx(1.56e15, rel=0.1)
    assert cost.refresh.flops["bfloat16"] > 0.95 * cost.refresh.flops.total()
    # The files' numbers without the 42 position tables (32 rows, two a module), which are a formula here.
    tables = 2 * 32 * (5 * 320 + 5 * 640 + 11 * 1280)
    assert cost.parameters == pytest.approx(2728.60e6 - tables, abs=0.02e6)
    unets = 859.51e6 + 859.52e6 + 454.42e6 - tables
    assert cost.weights == pytest.approx(2 * unets + 4 * (cost.parameters - unets), rel=1e-4)
    # The fill is the refresh without the inversion's 25 single evaluations.
    assert 0.6 < cost.fill.flops.total() / cost.refresh.flops.total() < 0.7
    # The published attention's logits alone, 16 frames with 8 heads, would be 17 GB.
    assert 0.5e9 < cost.refresh.peak < 3e9


def test_miniature_by_device(monkeypatch):
    """Twice the devices halve what waits for the diffusion; a device without the memory is told."""
    monkeypatch.setattr(predictions, "measured", lambda: datasheets.Speed(1e11, 1e11, 0.0))
    ten = predictions.Cost(predictions.Counter(float32=10**12), 10**9)
    cost = predictions.Prediction(5 * 10**9, 20 * 10**9, 10**8, ten, ten, ten)
    config = config_of(steps=61, update_every=30, samples_per_update=2, batch=1, size=128)
    work = dry_run.work_of(config, 1)
    assert work == dry_run.Work(20, 4, 20, 4) and dry_run.work_of(config, 4) == dry_run.Work(20, 4, 5, 2)
    # 25 s a call at 40 % of 1e11; 61 steps of 25 ms for the avatar.
    assert f"time:        {dry_run.span(25 * 25 + 1.525)}" in "\n".join(dry_run.costs(config, cost, work, 1))
    assert "update:      50.0 seconds" in "\n".join(dry_run.costs(config, cost, work, 1))
    on = config_of(steps=61, update_every=30, dry_device="tpu-v5e")
    text = "\n".join(dry_run.costs(on, cost, dry_run.work_of(on, 1), 1))
    assert "21.10 of 16 GB a device, TOO MUCH" in text and "0.197" not in text


def test_sizes():
    assert dry_run.sizes_of(config_of(size=128), "cpu") == miniature_config()
    assert dry_run.sizes_of(config_of(size=512), "cpu") == miniature_config()  # frames are shrunk for it
    full = config_of(size=256, dry_diffusion="aniportrait")
    assert (
        dry_run.sizes_of(full, "cpu").dtype == "float32" and dry_run.sizes_of(full, "cpu").frame_size == 256
    )
    assert dry_run.sizes_of(full, "h200").dtype == "bfloat16"
    assert dry_run.sizes_of(config_of(dtype="float16"), "cpu").dtype == "float16"


def test_every_device_of_the_flag_has_a_data_sheet():
    assert tuple(datasheets.TABLE) == DATA_SHEETS
