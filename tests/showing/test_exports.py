"""Files for other programs, read back by readers that know nothing of their writers."""

import shutil
from pathlib import Path

import jax
import numpy as np
import plyfile
import pytest

from zero1a_jax.avatar import pose as pose_avatar
from zero1a_jax.converters import flame_npz, livelink
from zero1a_jax.errors import Refused
from zero1a_jax.flame import forward, procedural_head, zero_params
from zero1a_jax.outputs import ply
from zero1a_jax.showing import exports
from zero1a_jax.sources import avatars, gaussianavatars, motions
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.types import Avatar, Gaussians, Motion

HEAD = procedural_head()
FLAME = HEAD.replace(version="flame2023", expression_names=())
COUNT, FRAMES = 20, 3


@pytest.fixture(scope="module")
def loaded():
    rng = np.random.default_rng(0)
    shapes = {"means": (3,), "log_scales": (3,), "quats": (4,), "sh": (4, 3), "opacity_logits": ()}
    gaussians = Gaussians(**{n: rng.normal(size=(COUNT, *s)).astype(np.float32) for n, s in shapes.items()})
    alive = np.arange(COUNT) < COUNT - 4
    ids = rng.integers(0, len(HEAD.faces), COUNT).astype(np.int32)
    shape = rng.normal(size=HEAD.shape_basis.shape[2]).astype(np.float32)
    meta = {"flame_version": HEAD.version, "faces": len(HEAD.faces), "seed": 3}
    return Loaded(Avatar(gaussians, ids, alive, shape), HEAD, meta, None)


@pytest.fixture(scope="module")
def motion():
    """Three frames of weights, head and eyes."""
    rng = np.random.default_rng(1)
    flame = zero_params(HEAD, (FRAMES,)).replace(
        expression=rng.uniform(size=(FRAMES, len(HEAD.expression_names))).astype(np.float32),
        neck=rng.normal(size=(FRAMES, 3)).astype(np.float32) * 0.3,
        eyes=rng.normal(size=(FRAMES, 2, 3)).astype(np.float32) * 0.3,
    )
    return Motion(flame, None, 25.0, HEAD.version)


def frame(motion, number):
    return jax.tree.map(lambda x: np.asarray(x)[number], motion.flame)


def write(loaded, folder, to, motion=None, **options):
    return exports.write(loaded, folder, zero_params(loaded.model), to=to, motion=motion, **options)


def test_one_ply_a_frame_in_order(loaded, motion, tmp_path):
    written = write(loaded, tmp_path, "ply", motion, degree=3)
    assert sorted(path.name for path in written.values()) == [f"frame_{n:05d}.ply" for n in range(FRAMES)]
    place = jax.jit(pose_avatar)
    for number, path in enumerate(sorted(tmp_path.glob("*.ply"))):
        posed = place(loaded.avatar, HEAD, frame(motion, number))
        found, ids = ply.load(path)
        np.testing.assert_allclose(found.means, np.asarray(posed.means)[:-4], atol=1e-6)
        assert ids is None and found.sh.shape == (COUNT - 4, 16, 3)
    comments = plyfile.PlyData.read(tmp_path / "frame_00000.ply").comments
    assert comments[0].startswith("synthetic") and comments[1] == "SplatRenderMode: mip"


def placed(vertices, faces, local, ids):
    """Gaussians' centres on a mesh, by the text of GaussianAvatars' paper: loops, no library of ours."""
    out = []
    for mean, face in zip(local, ids, strict=True):
        a, b, c = vertices[faces[int(face)]]
        x = (b - a) / np.linalg.norm(b - a)
        y = np.cross(x, c - a)
        y /= np.linalg.norm(y)
        z = np.cross(x, y)
        size = (np.linalg.norm(b - a) + abs(z @ (c - a))) / 2
        out.append(size * (np.stack([x, y, z], 1) @ mean) + (a + b + c) / 3)
    return np.array(out)


def test_delta_frames_move_the_gaussians_as_the_avatar_does(loaded, motion, tmp_path):
    (path,) = write(loaded, tmp_path, "delta_ply", motion).values()
    data = plyfile.PlyData.read(path)
    names = [element.name for element in data.elements]
    assert names[:3] == ["faces", "base_vertex", "vertex"] and len(names) == 3 + 3 * FRAMES
    assert names[3:6] == ["meta_delta_min_00000", "meta_delta_max_00000", "delta_vertex_00000"]

    def xyz(name):
        return np.stack([data[name][axis] for axis in "xyz"], 1).astype(np.float64)

    faces = np.stack([data["faces"][f"index_{k}"] for k in range(3)], 1)
    assert faces.dtype == np.uint32 and data["vertex"]["binding"].dtype == np.float32
    np.testing.assert_array_equal(data["vertex"]["f_rest_4"], loaded.avatar.gaussians.sh[:-4, 2, 1])
    place = jax.jit(pose_avatar)
    for number in range(FRAMES):
        low, high = xyz(f"meta_delta_min_{number:05d}"), xyz(f"meta_delta_max_{number:05d}")
        share = xyz(f"delta_vertex_{number:05d}")
        assert share.min() >= 0 and share.max() <= 1
        vertices = share * (high - low) + low + xyz("base_vertex")
        moved = placed(vertices, faces, xyz("vertex"), data["vertex"]["binding"])
        wanted = np.asarray(place(loaded.avatar, HEAD, frame(motion, number)).means)[:-4]
        np.testing.assert_allclose(moved, wanted, atol=2e-6)


@pytest.mark.parametrize("to", ["coefficients", "livelink"])
def test_coefficients_come_back_through_the_reader_of_motions(to, loaded, motion, tmp_path):
    if to == "livelink":  # gaze of shapes and joints at once has a test of its own
        motion = motion.replace(flame=motion.flame.replace(eyes=0 * motion.flame.eyes))
    (path,) = write(loaded, tmp_path, to, motion).values()
    found = motions.load(path, HEAD, shape=loaded.avatar.shape, root="drop")
    assert found.fps == 25.0 and not found.notes
    for name in ("expression", "neck", "jaw", "eyes"):
        np.testing.assert_allclose(getattr(found.flame, name), getattr(motion.flame, name), atol=1e-6)


def test_gaze_of_shapes_and_joints_is_one_gaze_in_live_links_table(loaded, tmp_path):
    names = HEAD.expression_names
    flame = zero_params(HEAD, (3,))
    weights, eyes = np.zeros((3, len(names)), np.float32), np.zeros((3, 2, 3), np.float32)
    weights[0, names.index("eyeLookOutLeft")], weights[0, names.index("jawOpen")] = 0.5, 0.7
    eyes[1] = [0.2, -0.3, 0]
    weights[2, names.index("eyeLookUpRight")], eyes[2, 1] = 0.6, [0.05, 0.2, 0]
    given = Motion(flame.replace(expression=weights, eyes=eyes), None, 25.0, HEAD.version)
    (path,) = write(loaded, tmp_path, "livelink", given).values()

    recorded = livelink.load(path)
    column = {name.lower(): k for k, name in enumerate(recorded.names)}
    shapes = [recorded.weights[1, column[f"eyelook{look}"]] for look in ("inleft", "outright", "downleft")]
    np.testing.assert_allclose(shapes, [0.3 / 0.45, 0.3 / 0.45, 0.2 / 0.32], atol=0.02)
    found = motions.load(path, HEAD, root="drop").flame
    assert found.expression[0, names.index("jawOpen")] == pytest.approx(0.7)
    iris = np.asarray(HEAD.masks["iris"])
    place = jax.jit(jax.vmap(lambda params: forward(HEAD, params)[0][iris]))
    wanted, rest = place(given.flame), place(flame)
    assert np.abs(wanted - rest).max() > 2e-3
    # A shape moves the iris along the chord of the turn, 0.3 mm below the arc of half a weight.
    np.testing.assert_allclose(place(found), wanted, atol=4e-4)


def test_so_many_frames_and_no_more(loaded, motion, tmp_path):
    written = write(loaded, tmp_path, "coefficients", motion, frames=2)
    assert len(flame_npz.load(written["coefficients"]).flame.jaw) == 2


def test_coefficients_have_the_names_of_vhap(loaded, motion, tmp_path):
    (path,) = write(loaded, tmp_path, "coefficients", motion).values()
    with np.load(path, allow_pickle=False) as data:
        assert {"shape", "expr", "rotation", "neck_pose", "jaw_pose", "eyes_pose", "translation"} < set(data)
        assert data["expr"].shape == (FRAMES, 52) and data["eyes_pose"].shape == (FRAMES, 6)
        np.testing.assert_array_equal(data["shape"], loaded.avatar.shape)


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A folder as GaussianAvatars leaves it, of the reference .ply and a head with offsets of its own."""
    folder = tmp_path / "run" / "point_cloud" / "iteration_30000"
    folder.mkdir(parents=True)
    source = Path(__file__).parents[1] / "fixtures" / "flame" / "ply" / "sh3_bound.ply"
    shutil.copy(source, folder / "point_cloud.ply")
    rng = np.random.default_rng(2)
    shape = np.zeros(300, np.float32)
    shape[:5] = rng.normal(size=5)
    offset = rng.normal(size=(1, 5000, 3)).astype(np.float32) * 1e-3
    np.savez(folder / "flame_param.npz", shape=shape, expr=np.zeros((2, 100)), static_offset=offset)
    monkeypatch.setattr(avatars.heads, "load", lambda flame: FLAME)
    monkeypatch.setattr(avatars.arkit_table, "load", lambda model, table: None)
    return folder


@pytest.mark.parametrize("given", ["run", "folder", "file"])
def test_gaussianavatars_ply_goes_in_and_out_byte_equal(given, foreign, tmp_path):
    path = {"run": foreign.parents[1], "folder": foreign, "file": foreign / "point_cloud.ply"}[given]
    avatar = avatars.load(path, "flame")
    written = write(avatar, tmp_path / "out", "gaussianavatars")
    assert written["triangle"].read_bytes() == (foreign / "point_cloud.ply").read_bytes()
    with (
        np.load(written["parameters"], allow_pickle=False) as data,
        np.load(foreign / "flame_param.npz") as own,
    ):
        np.testing.assert_array_equal(data["shape"], own["shape"])
        np.testing.assert_array_equal(data["static_offset"][:, :5000], own["static_offset"])
        vertices = len(FLAME.template)
        assert data["static_offset"].shape == (1, vertices, 3) and data["dynamic_offset"].shape == (
            1,
            vertices,
            3,
        )
        assert data["expr"].shape == (1, 100) and {data[name].dtype for name in data} == {np.dtype("f4")}


def test_gaussianavatars_mesh_is_flames_with_its_offset(foreign, tmp_path):
    avatar = avatars.load(foreign, "flame")
    with np.load(foreign / "flame_param.npz") as own:
        np.testing.assert_allclose(
            avatar.model.template[:5000], FLAME.template[:5000] + own["static_offset"][0]
        )
    np.testing.assert_array_equal(avatar.model.template[5000:], FLAME.template[5000:])
    write(avatar, tmp_path / "ours", "ply")
    again = avatars.load(tmp_path / "ours", "flame")  # the offset survives our own format
    np.testing.assert_array_equal(again.model.template, avatar.model.template)
    assert "static_offset" not in (tmp_path / "ours" / "avatar.json").read_text()
    _, model, _ = gaussianavatars.load(foreign / "point_cloud.ply", FLAME)
    np.testing.assert_array_equal(model.template, avatar.model.template)


def test_our_avatar_on_flame_goes_to_gaussianavatars_with_45_coefficients_and_a_motion(
    loaded, motion, tmp_path
):
    ours = loaded._replace(model=FLAME)
    moved = motion.replace(flame_version=FLAME.version)
    written = write(ours, tmp_path, "gaussianavatars", moved)
    names = [p.name for p in plyfile.PlyData.read(written["triangle"])["vertex"].properties]
    assert names == ply.property_names(45, True)
    found = flame_npz.load(written["parameters"])
    np.testing.assert_allclose(found.flame.expression[:, :52], motion.flame.expression, atol=1e-6)
    assert found.flame.shape.shape == (FRAMES, 300)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"shape": np.full(300, 1.0)}, "300 shape coefficients, the head 24"),
        ({"shape": np.full(3, np.nan)}, "not finite"),
        ({"static_offset": np.zeros((9000, 3))}, "9000 vertices, the head has 5188"),
        ({"other": np.zeros(3)}, "no readable `shape`"),
    ],
)
def test_damaged_parameters_are_refused(change, words, foreign):
    np.savez(foreign / "flame_param.npz", **({} if "other" in change else {"shape": np.zeros(3)}) | change)
    with pytest.raises(Refused, match=words):
        avatars.load(foreign, "flame")


def test_gaussianavatars_without_flame_is_refused(foreign):
    with pytest.raises(Refused, match="stands on FLAME: give the folder of the model with --flame"):
        gaussianavatars.load(foreign / "point_cloud.ply", HEAD)


@pytest.mark.parametrize(
    "to, on_flame, moving, words",
    [
        ("delta_ply", False, False, "holds a motion: give --motion"),
        ("livelink", False, False, "holds a motion: give --motion"),
        ("livelink", True, True, "have no names of ARKit's"),
        ("delta_ply", True, True, "does not let its mesh"),
        ("glb", True, False, "does not let its mesh"),
        ("gaussianavatars", False, False, "knows FLAME alone"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    to, on_flame, moving, words, loaded, motion, tmp_path
):
    avatar = loaded._replace(model=FLAME) if on_flame else loaded
    given = motion.replace(flame_version=avatar.model.version) if moving else None
    with pytest.raises(Refused, match=words):
        write(avatar, tmp_path / "out", to, given)
    assert not (tmp_path / "out").exists()


def test_rates_that_no_timecode_counts_are_refused(loaded, motion, tmp_path):
    with pytest.raises(Refused, match="counts 24, 25, 30, 48, 50, 60 frames a second, not 12.5"):
        write(loaded, tmp_path / "out", "livelink", motion, fps=12.5)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["spz", "sog"])
def test_compressed_splats(to, loaded, tmp_path):
    if shutil.which("splat-transform") is None:
        pytest.skip("needs splat-transform on PATH (npm install -g @playcanvas/splat-transform)")
    (path,) = write(loaded, tmp_path, to).values()
    assert path.name == f"avatar.{to}" and path.stat().st_size > 100
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == [path.name]


@pytest.mark.parametrize("to", ["spz", "sog"])
def test_without_the_tool_a_sentence_says_where_it_comes_from(to, loaded, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="npm install -g @playcanvas/splat-transform"):
        write(loaded, tmp_path / "out", to)
    assert not (tmp_path / "out").exists()


def test_a_tool_that_fails_leaves_nothing(loaded, tmp_path, monkeypatch):
    tool = tmp_path / "splat-transform"
    tool.write_text("#!/bin/sh\necho no room >&2\nexit 3\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="made no .spz: no room"):
        write(loaded, tmp_path / "out", "spz")
    assert not (tmp_path / "out").exists()
