"""What every test may ask for: reference numbers, the head that they were computed with, a run of fakes."""

import base64
import importlib.util
import os
from pathlib import Path

import jax
import numpy as np
import pytest

from zero1a_jax import outputs
from zero1a_jax.avatar import pose
from zero1a_jax.commandline import memory
from zero1a_jax.flame import procedural_head, zero_params
from zero1a_jax.sources import avatars
from zero1a_jax.types import Avatar, FlameModel, Gaussians

jax.config.update("jax_num_cpu_devices", 4)  # before jax starts: tests compare what 1, 2 and 4 of them make
memory.reuse_freed_memory()  # the suite compiles and runs many programs: this is a good part of its time


def pytest_configure(config: pytest.Config) -> None:
    """The fast suite compiles with less effort, which is most of what it costs; studies do as users do."""
    if config.option.markexpr == "not slow":
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")


def fixture_path(name: str) -> Path:
    """A file of reference numbers, in the folder ZERO1A_FIXTURES or else the copies beside the tests."""
    return Path(os.environ.get("ZERO1A_FIXTURES", Path(__file__).parent / "fixtures")) / name


def load_npz(name: str) -> dict[str, np.ndarray]:
    with np.load(fixture_path(name), allow_pickle=False) as arrays:
        return dict(arrays)


def model_of_assets(arrays: dict[str, np.ndarray], shapes: int, dtype=np.float32) -> FlameModel:
    """The FlameModel of expected_assets.npz, whose first `shapes` basis columns are identity."""
    floats = {k: a.astype(dtype) for k, a in arrays.items() if a.dtype.kind == "f"}
    ids = {k: a.astype(np.int32) for k, a in arrays.items() if a.dtype.kind in "iu"}
    count = len(arrays["v_template"])
    masks = {k[5:]: np.isin(np.arange(count), a) for k, a in ids.items() if k.startswith("mask_")}
    return FlameModel(
        template=floats["v_template"],
        shape_basis=floats["shapedirs"][..., :shapes],
        expression_basis=floats["shapedirs"][..., shapes:],
        pose_basis=floats["posedirs"],
        joint_regressor=floats["J_regressor"],
        skinning=floats["weights"],
        faces=ids["f"],
        landmark_faces=ids["static_face"],
        landmark_barycentrics=floats["static_bary"],
        contour_faces=ids["dyn_face"],
        contour_barycentrics=floats["dyn_bary"],
        mediapipe_faces=ids["mp_face"],
        mediapipe_barycentrics=floats["mp_bary"],
        mediapipe_indices=ids["mp_idx"],
        masks=masks,
        uv=floats["vt"],
        uv_faces=ids["ft"],
        parents=tuple(arrays["kintree_parents"].tolist()),
        expression_names=(),
        version="fixture",
    )


@pytest.fixture(scope="session")
def fakes():
    """A run that costs seconds: tests/fakes.py."""
    spec = importlib.util.spec_from_file_location("zero1a_test_fakes", Path(__file__).with_name("fakes.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def compilation_cache(tmp_path_factory):
    """For folders whose tests build the same programs anew: without a cache each would compile them again."""
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("xla")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture(scope="session")
def reference():
    """Loads an .npz of the reference folder by name: `reference("flame/rigging.npz")`."""
    return load_npz


@pytest.fixture(scope="session")
def reference_path():
    """Where a file of the reference folder lies: `reference_path("flame/variants/py3_proto4.pkl")`."""
    return fixture_path


@pytest.fixture(scope="session")
def reference_model():
    """Makes the reference head: `reference_model(shapes, dtype)`."""
    assets = load_npz("flame/expected_assets.npz")
    return lambda shapes, dtype=np.float32: model_of_assets(assets, shapes, dtype)


def tiny(names=("eyeBlinkLeft", "jawOpen", "mouthSmileLeft", "unknownShape"), version="tiny", shapes=5):
    """A FlameModel whose expressions have `names`; the geometry means nothing."""
    expressions = len(names) or 6
    none = dict.fromkeys(
        (
            "landmark_faces landmark_barycentrics contour_faces contour_barycentrics mediapipe_faces "
            "mediapipe_barycentrics mediapipe_indices masks uv uv_faces"
        ).split()
    )
    return FlameModel(
        template=np.zeros((3, 3), np.float32),
        shape_basis=np.zeros((3, 3, shapes), np.float32),
        expression_basis=np.zeros((3, 3, expressions), np.float32),
        pose_basis=np.zeros((3, 3, 36), np.float32),
        joint_regressor=np.zeros((5, 3), np.float32),
        skinning=np.ones((3, 5), np.float32) / 5,
        faces=np.array([[0, 1, 2]]),
        parents=(-1, 0, 1, 1, 1),
        expression_names=tuple(names),
        version=version,
        **none,
    )


@pytest.fixture(name="tiny")
def tiny_fixture():
    return tiny


def export_plain(path, shape, colours):
    """Exports one nearly opaque Gaussian a triangle, padded like playback; colours [F, 1, 3] as SH."""
    model = procedural_head()
    count = len(model.faces)
    gaussians = Gaussians(
        means=np.zeros((count, 3), np.float32),
        log_scales=np.full((count, 3), np.log(0.6), np.float32),
        quats=np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        sh=np.asarray(colours, np.float32),
        opacity_logits=np.full(count, 4.0, np.float32),
    )
    faces = np.arange(count, dtype=np.int32)
    avatar = avatars.padded(Avatar(gaussians, faces, np.ones(count, bool), np.asarray(shape, np.float32)))
    posed = jax.jit(pose)(avatar, model, zero_params(model))
    meta = {"flame_version": model.version, "faces": count}
    outputs.save_avatar(path / "export", avatar, posed, meta)
    return path


@pytest.fixture(scope="session")
def exported():
    """Writes a plain avatar into PATH/export: `exported(path, shape, colours)`."""
    return export_plain


def unpack(entry):
    """An array of a page, as assets/page/rig.js unpacks it."""
    whole = np.frombuffer(base64.b64decode(entry["data"]), np.dtype(entry["dtype"])).reshape(entry["shape"])
    return whole * np.array(entry["step"]) + np.array(entry["low"]) if "low" in entry else whole


@pytest.fixture
def unpacked():
    return unpack
