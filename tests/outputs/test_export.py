"""The folder that an avatar is exported to."""

import json

import numpy as np
import plyfile
import pytest

from zero1a_jax import outputs, provenance
from zero1a_jax.outputs import ply
from zero1a_jax.types import Avatar, Gaussians

META = {"flame_version": "tiny", "faces": 50, "size": np.int32(128), "background": np.ones(3)}


def make(count=20, living=12):
    rng = np.random.default_rng(0)
    shapes = {"means": (3,), "log_scales": (3,), "quats": (4,), "sh": (4, 3), "opacity_logits": ()}
    local, world = (
        Gaussians(**{name: rng.normal(size=(count, *s)).astype(np.float32) for name, s in shapes.items()})
        for _ in range(2)
    )
    alive = np.zeros(count, bool)
    alive[rng.permutation(count)[:living]] = True
    face_ids = rng.integers(0, 50, count).astype(np.int32)
    return Avatar(local, face_ids, alive, np.arange(5, dtype=np.float32)), world


def test_round_trip_keeps_the_living(tmp_path):
    avatar, world = make()
    paths = outputs.save_avatar(tmp_path / "export", avatar, world, META)
    assert all(path.is_file() for path in paths.values())
    loaded, meta = outputs.load_avatar(tmp_path / "export")
    for name, value in vars(avatar.gaussians).items():
        np.testing.assert_array_equal(getattr(loaded.gaussians, name), value[avatar.alive])
    np.testing.assert_array_equal(loaded.face_ids, avatar.face_ids[avatar.alive])
    np.testing.assert_array_equal(loaded.shape, avatar.shape)
    assert loaded.alive.all() and len(loaded.alive) == 12
    assert meta["size"] == 128 and meta["background"] == [1, 1, 1] and meta["gaussians"] == 12
    posed, ids = ply.load(paths["world"])
    np.testing.assert_array_equal(posed.means, world.means[avatar.alive])
    assert ids is None


def test_both_plys_and_the_json_say_that_they_are_synthetic(tmp_path):
    about = provenance.Provenance("2026-07-31", seed=3)
    paths = outputs.save_avatar(tmp_path, *make(), META, provenance=about)
    for name, more in (("triangle", []), ("world", ["SplatRenderMode: mip"])):
        assert plyfile.PlyData.read(paths[name]).comments == [about.sentence, *more]
    _, meta = outputs.load_avatar(tmp_path)
    assert meta["provenance"] == about.facts and meta["provenance"]["synthetic"] is True
    assert meta["provenance"]["seed"] == 3 and meta["provenance"]["date"] == "2026-07-31"


def test_loads_by_file_name_too(tmp_path):
    outputs.save_avatar(tmp_path, *make(), META)
    assert len(outputs.load_avatar(tmp_path / "avatar.ply")[0].alive) == 12


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda avatar: (avatar.replace(alive=np.zeros(20, bool)), META), "no living"),
        (lambda avatar: (avatar.replace(alive=np.ones(19, bool)), META), "19"),
        (lambda avatar: (avatar, {"faces": 50}), "flame_version"),
        (lambda avatar: (avatar, {**META, "faces": 3}), "its own model"),
    ],
)
def test_save_refuses(change, words, tmp_path):
    avatar, world = make()
    avatar, meta = change(avatar)
    with pytest.raises(ValueError, match=words):
        outputs.save_avatar(tmp_path, avatar, world, meta)


def test_load_says_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="export folder"):
        outputs.load_avatar(tmp_path)
    paths = outputs.save_avatar(tmp_path, *make(), META)
    good = paths["meta"].read_text()
    paths["meta"].write_text(json.dumps({**json.loads(good), "format": 99}))
    with pytest.raises(ValueError, match="format"):
        outputs.load_avatar(tmp_path)
    paths["meta"].write_text(good)
    world = paths["world"].read_bytes()
    triangle = paths["triangle"].read_bytes()
    paths["triangle"].write_bytes(world)
    with pytest.raises(ValueError, match="binding_0"):
        outputs.load_avatar(tmp_path)
    paths["triangle"].write_bytes(triangle)
    np.savez(paths["shape"], shape=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="shape"):
        outputs.load_avatar(tmp_path)
    paths["shape"].write_bytes(b"")
    with pytest.raises(ValueError, match="shape"):
        outputs.load_avatar(tmp_path)
