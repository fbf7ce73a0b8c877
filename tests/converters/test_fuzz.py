"""Damaged copies of good files: a valid model or motion, or ValueError; nothing else, and never slowly."""

import functools
import random
import re
import time

import numpy as np
import pytest

from zero1a_jax.converters import flame, flame_files, talkshow
from zero1a_jax.converters.pickles import unpickle

MODELS = [
    f"flame/variants/{name}.pkl"
    for name in (
        "py2_proto0_chumpy",
        "py2_proto0_plain",
        "py2_proto2_chumpy_shapedirs_only",
        "py2_proto2_select",
        "py3_proto2",
        "py3_proto4",
        "py3_proto4_dense_J",
    )
]
COMPANIONS = [
    f"flame/flame/{name}"
    for name in (
        flame_files.STATIC,
        flame_files.DYNAMIC,
        flame_files.WITH_EYES,
        flame_files.MEDIAPIPE,
        flame_files.MASKS,
        flame_files.TEMPLATE,
    )
]
MOTIONS = ["flame/drivers/talkshow.pkl", "flame/drivers/talkshow_audio2motion.npy"]
# Most bytes are numbers, where damage is only another number: half of the damage is done around these words.
TELLING = re.compile(
    rb"numpy|scipy|chumpy|torch|dtype|latin1|_reconstruct|csc_matrix|indptr|indices|_shape|shapedirs|weights"
    rb"|kintree_table|v_template|lmk_|storage|PK|NUMPY|descr|vt |f \d|betas|expression|\.$"
)
SECONDS = 2.0


def damaged(luck: random.Random, good: bytes, others: list[bytes]) -> bytes:
    """One to three injuries: bytes changed, cut off, repeated, left out, or taken from another file."""
    data = bytearray(good)
    telling = [match.start() for match in TELLING.finditer(good)] or [0]
    for _ in range(luck.choice([1, 1, 1, 2, 3])):
        size = max(1, len(data))
        near = luck.random() < 0.5
        at = (
            min(size - 1, max(0, luck.choice(telling) + luck.randint(-24, 24)))
            if near
            else luck.randrange(size)
        )
        length = min(luck.choice([1, 1, 2, 4, 8, 64, 1024]), size - at)
        kind = luck.randrange(10)
        if kind <= 1 or kind >= 7:
            data[at : at + 1] = bytes([luck.randrange(256)])
        elif kind == 2:
            data[at : at + length] = luck.randbytes(length)
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            data[at:at] = data[at : at + length]
        elif kind == 5:
            del data[at : at + length]
        else:
            source = luck.choice(others)
            start = luck.randrange(len(source))
            data[at : at + length] = source[start : start + luck.choice([1, 8, 64, 1024])]
    return bytes(data)


def valid(model) -> None:
    vertices = len(model.template)
    for name in ("template", "shape_basis", "expression_basis", "pose_basis", "joint_regressor", "skinning"):
        assert np.isfinite(getattr(model, name)).all(), name
    assert model.faces.min() >= 0 and model.faces.max() < vertices
    np.testing.assert_allclose(model.skinning.sum(1), 1, atol=2e-3)
    for name in ("landmark", "contour", "mediapipe"):
        faces, weights = getattr(model, f"{name}_faces"), getattr(model, f"{name}_barycentrics")
        if faces is not None:
            assert faces.min() >= 0 and faces.max() < len(model.faces)
            np.testing.assert_allclose(weights.sum(-1), 1, atol=2e-3)
    if model.uv is not None:
        assert model.uv_faces.min() >= 0 and model.uv_faces.max() < len(model.uv)


def attack(load, check, path, good, others, luck, times) -> int:
    """How many of `times` damaged copies were refused."""
    refused = 0
    for number in range(times):
        path.write_bytes(damaged(luck, good, others))
        begin = time.process_time()
        try:
            check(load())
        except ValueError as error:
            assert isinstance(error, unpickle.BadFile) and str(path) in str(error), (number, error)
            refused += 1
        assert time.process_time() - begin < SECONDS, number
    return refused


def campaign(reference_path, pickles, folder, seed, times):
    """Attacks every kind of file `times` times; how many were refused, of how many."""
    files = {name: reference_path(name).read_bytes() for name in (*MODELS, *COMPANIONS, *MOTIONS)}
    files |= {f"{layout}.pth": content for layout, content in pickles.checkpoint()[0].items()}
    others, refused = list(files.values()), 0
    for number, (name, good) in enumerate(files.items()):
        luck = random.Random(f"{seed} {number}")
        path = folder / ("any.pkl" if name in MODELS else name.split("/")[-1])
        load, check = _loader(name), valid if name in MODELS + COMPANIONS else lambda found: None
        refused += attack(functools.partial(load, path), check, path, good, others, luck, times)
    return refused, times * len(files)


def _loader(name):
    if name.endswith(".pth"):
        return unpickle.load_torch
    if name in MOTIONS:
        return talkshow.load
    return flame.load if name in MODELS else companion


@pytest.fixture
def folder(tmp_path, reference):
    """A folder with the reference model, for whose companions damaged files are put in turn."""
    import pickle

    assets = reference("flame/expected_assets.npz")
    names = ("v_template", "posedirs", "J_regressor", "weights", "f")
    content = {name: assets[name] for name in names}
    content["shapedirs"] = assets["shapedirs"][..., :20]
    content["kintree_table"] = np.stack([assets["kintree_parents"], np.arange(5)])
    (tmp_path / "FLAME_NEUTRAL.pkl").write_bytes(pickle.dumps(content, 4))
    return tmp_path


def companion(path):
    """Loads the folder with this companion alone."""
    for name in COMPANIONS:
        other = path.parent / name.split("/")[-1]
        if other != path and other.is_file():
            other.unlink()
    return flame.load(path.parent)


@pytest.mark.parity
def test_damaged_files(reference_path, pickles, folder):
    refused, count = campaign(reference_path, pickles, folder, 0, 100)
    assert count == 1700 and refused > count / 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 9))
def test_many_damaged_files(seed, reference_path, pickles, folder):
    refused, count = campaign(reference_path, pickles, folder, seed, 500)
    print(f"seed {seed}: {refused} of {count} refused")
