"""Following a run: the newest avatar, curves and samples; the folder stays as it is."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import symgen
from zero1a_jax.avatar import bind
from zero1a_jax.config import from_values, to_values
from zero1a_jax.errors import Refused
from zero1a_jax.flame import procedural_head
from zero1a_jax.outputs.viewer import server
from zero1a_jax.provenance import Provenance
from zero1a_jax.training import checkpoint, following, rounds

ABOUT = Provenance("2026-07-31", seed=3)


@pytest.fixture
def folder(tmp_path):
    """The folder of a run at step 20 of 40."""
    config = from_values({"image": "synthetic:3", "workdir": str(tmp_path), "steps": 40, "seed": 5})
    (tmp_path / "config.json").write_text(json.dumps(to_values(config)))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "metrics.jsonl").write_text(
        '{"step": 10, "loss": 0.5, "psnr": 20.0}\n{"step": 20, "loss": 0.25, "psnr": 25.0}\n{"st'
    )
    save(tmp_path, 10, 0.1)
    save(tmp_path, 20, 0.2)
    update(tmp_path, 0, 0.1)
    update(tmp_path, 10, 0.9, symgen.BLANK)
    return tmp_path


def save(folder, step, colour):
    model, key = procedural_head(), jax.random.key(0)
    avatar = bind(key, model, jnp.zeros(model.shape_basis.shape[2]), capacity=12_288)
    sh = np.full(avatar.gaussians.sh.shape, colour, np.float32)
    tree = {
        "state": {"avatar": avatar.replace(gaussians=avatar.gaussians.replace(sh=sh)), "seen": np.ones(9)}
    }
    checkpoint.save(folder / "checkpoints", step, tree)


def update(folder, step, shade, reason=symgen.ACCEPTED):
    frames = np.full((2, 64, 64, 3), shade)
    made = rounds.Refreshed(step, 2, 1, reason, rounds.small(frames), rounds.small(frames))
    rounds.write(folder, [made], ABOUT)


def state(folder):
    return {path: (os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in folder.rglob("*")}


def test_the_newest_avatar_is_shown_and_a_damaged_one_is_passed_over(folder):
    before = state(folder)
    run = following.Run(folder)
    loaded = run.newest()
    assert np.unique(loaded.avatar.gaussians.sh).tolist() == [np.float32(0.2)]
    assert loaded.meta["seed"] == 5 and loaded.meta["background"].tolist() == [1, 1, 1]
    assert run.newest() is None  # nothing newer
    assert state(folder) == before
    save(folder, 30, 0.3)
    assert np.unique(run.newest().avatar.gaussians.sh).tolist() == [np.float32(0.3)]
    for path in (folder / "checkpoints" / "00000030" / "arrays").rglob("manifest.ocdbt"):
        path.write_bytes(b"cut")
    assert np.unique(following.Run(folder).newest().avatar.gaussians.sh).tolist() == [np.float32(0.2)]


def test_only_the_avatar_is_read(folder):
    arrays = checkpoint.load_arrays(folder / "checkpoints" / "00000020", under="state.avatar.")
    assert "state.avatar.alive" in arrays and "state.seen" not in arrays
    assert "state.seen" in checkpoint.load_arrays(folder / "checkpoints" / "00000020")


def test_curves_and_samples(folder, monkeypatch):
    pytest.importorskip("viser")
    monkeypatch.setattr(following, "EVERY", 0.0)
    run, running = following.Run(folder), server.start(0)
    try:
        run.newest()
        run.build(running)
        controls = run._controls
        assert controls.status.content == "step 20 of 40, the avatar of step 20 is shown"
        assert all("<polyline" in chart.content for chart in controls._curves.values())
        assert controls.slot.options == ("2",) and controls.update.max == controls.update.value == 1
        reason = symgen.REASONS[symgen.BLANK]
        assert controls._about.content == f"update 2 of 2, step 10, rejected: {reason}"
        controls.update.value = 0
        assert controls._about.content == "update 1 of 2, step 0, accepted"
        update(folder, 20, 0.5)
        save(folder, 30, 0.3)
        newer = run.newer()
        assert len(newer.names) == 58 and newer.provenance.seed == 5
        assert controls.update.max == 2 and controls.update.value == 0  # who looks at one stays there
        controls.update.value = 2
        shown = controls._picture.image
        above = shown[20:100, 20:200].mean()  # before: what the first update made, not the rejected one
        assert abs(above - 0.1 * 255) < 3
        assert abs(shown[340:400, 20:200].mean() - 0.5 * 255) < 3
    finally:
        running.stop()


def test_what_is_no_run(folder, tmp_path):
    assert following.is_run(folder) and not following.is_finished(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(Refused, match="damaged"):
        following.Run(folder)
