"""An avatar against a capture: a synthetic one in VHAP's layout, made of the avatar itself."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import evaluate
from zero1a_jax.commandline import flags
from zero1a_jax.converters import flame_npz
from zero1a_jax.errors import Refused
from zero1a_jax.flame import frame_target, procedural_head, zero_params
from zero1a_jax.geometry import portrait_camera
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.measuring import capture
from zero1a_jax.showing import playback
from zero1a_jax.sources import avatars
from zero1a_jax.types import Motion

WIDTH, HEIGHT, TIMES = 56, 48, 4
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
MOVED = np.array([0.3, -0.2, 0.5])  # metres: a tracker's world is not ours


@pytest.fixture(scope="module")
def shape():
    return np.random.default_rng(7).normal(size=np.shape(procedural_head().shape_basis)[2]).astype(np.float32)


@pytest.fixture(scope="module")
def avatar(tmp_path_factory, exported, shape):
    """An avatar of many colours, so that a wrong pose shows."""
    colours = np.random.default_rng(1).normal(size=(len(procedural_head().faces), 1, 3))
    return exported(tmp_path_factory.mktemp("run"), shape, colours)


def poses(shape):
    """Parameters [TIMES] of a head that speaks and turns, in the tracker's world, and cameras around it."""
    model = procedural_head()
    rest = zero_params(model, (TIMES,))
    jaw, turn = np.zeros((TIMES, 3), np.float32), np.zeros((TIMES, 3), np.float32)
    jaw[:, 0], turn[:, 1] = np.linspace(0, 0.25, TIMES), np.linspace(-0.2, 0.3, TIMES)
    flame = rest.replace(
        shape=np.repeat(shape[None], TIMES, 0),
        jaw=jaw,
        rotation=turn,
        translation=np.tile(MOVED.astype(np.float32), (TIMES, 1)),
    )
    target = np.asarray(frame_target(model, jnp.asarray(shape))) + MOVED
    cameras = portrait_camera(target, np.radians(np.linspace(-30, 40, TIMES)), np.zeros(TIMES), 1)
    focal = jnp.full((TIMES, 2), 1.3 * HEIGHT, jnp.float32) * jnp.array([1.1, 1.0])
    center = jnp.tile(jnp.array([WIDTH / 2 + 2.0, HEIGHT / 2 - 1.0]), (TIMES, 1))
    return flame, cameras.replace(focal=focal, center=center, height=HEIGHT, width=WIDTH)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, avatar, shape):
    """The capture: pictures of the avatar over black with masks, cameras, parameters."""
    path, loaded = tmp_path_factory.mktemp("capture"), avatars.load(avatar)
    flame, cameras = poses(shape)
    entries = []
    for name in ("images", "fg_masks", "flame_param"):
        (path / name).mkdir()
    frames = playback.render(loaded.avatar, loaded.model, flame, cameras, background=np.zeros(3))
    for time, (rgb, alpha) in enumerate(frames):
        straight = np.where(alpha[..., None] > 0, rgb / np.maximum(alpha, 1e-6)[..., None], 0)
        Image.fromarray(as_uint8(straight)).save(path / f"images/{time}.png")
        Image.fromarray(as_uint8(alpha)).save(path / f"fg_masks/{time}.png")
        one = jax.tree.map(lambda x, t=time: np.asarray(x)[t : t + 1], flame)
        motion = Motion(flame=one, camera=None, fps=25.0, flame_version=loaded.model.version)
        flame_npz.save(path / f"flame_param/{time}.npz", motion)
        camera = jax.tree.map(lambda x, t=time: np.asarray(x)[t], cameras)
        entries.append({
            "timestep_index": time, "camera_index": 0, "file_path": f"images/{time}.png",
            "fg_mask_path": f"fg_masks/{time}.png", "flame_param_path": f"flame_param/{time}.npz",
            "transform_matrix": (np.linalg.inv(camera.world_to_camera) @ OPENGL).tolist(),
            "fl_x": float(camera.focal[0]), "fl_y": float(camera.focal[1]),
            "cx": float(camera.center[0]), "cy": float(camera.center[1]), "w": WIDTH, "h": HEIGHT,
        })  # fmt: skip
    (path / "transforms.json").write_text(json.dumps({"frames": entries}))
    return path


def test_the_avatar_itself_is_found(avatar, folder, tmp_path):
    """Its own capture scores as eight bits allow, at the capture's poses; the portrait is left out."""
    rows = capture.evaluate(avatar, folder, tmp_path / "e.jsonl", pairs=9)
    assert [row["frame"] for row in rows] == ["1.png", "2.png", "3.png"]
    assert min(row["psnr"] for row in rows) > 45 and min(row["ssim"] for row in rows) > 0.99
    assert min(row["psnr_colour"] for row in rows) > 45
    turned = np.linspace(-30, 40, TIMES) - np.degrees(np.linspace(-0.2, 0.3, TIMES))
    np.testing.assert_allclose([row["yaw"] for row in rows], turned[1:], atol=5)  # the face's middle
    before = (tmp_path / "e.jsonl").read_text()
    assert capture.evaluate(avatar, folder, tmp_path / "e.jsonl", pairs=9) == rows
    assert (tmp_path / "e.jsonl").read_text() == before


def test_an_avatar_on_another_head_is_laid_on_it(exported, tmp_path, folder, shape):
    """A smaller head in the same place: not as good, far from lost."""
    other = shape.copy()
    other[:5] -= 1.5
    colours = np.random.default_rng(1).normal(size=(len(procedural_head().faces), 1, 3))
    rows = capture.evaluate(exported(tmp_path, other, colours), folder, tmp_path / "e.jsonl", pairs=2)
    assert all(14 < row["psnr"] < 40 for row in rows)


def test_one_moment_is_no_capture(avatar, folder, tmp_path):
    data = json.loads((folder / "transforms.json").read_text())
    for key in ("file_path", "fg_mask_path", "flame_param_path"):
        data["frames"][0][key] = str(folder / data["frames"][0][key])
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": data["frames"][:1]}))
    with pytest.raises(Refused, match="one moment alone"):
        capture.evaluate(avatar, tmp_path, tmp_path / "e.jsonl", pairs=2)


def test_the_command_writes_a_report(avatar, folder, tmp_path, capsys):
    given = [f"--avatar={avatar}", f"--against={folder}", f"--out={tmp_path / 'e.jsonl'}"]
    evaluate.main(flags.parse(evaluate.Options, [*given, f"--report={tmp_path / 'report'}"]))
    assert "colour dB" in capsys.readouterr().out
    lines = (tmp_path / "report" / "rows.csv").read_text().splitlines()
    assert len(lines) == 4 and lines[0].startswith("capture,avatar,of,pair,frame,yaw,psnr")
    means = json.loads((tmp_path / "report" / "means.json").read_text())
    assert means["pairs"] == 3 and means["psnr"] > 45
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("<img") == 3 and "By degrees of yaw" in page
    (tmp_path / "report" / "rows.csv").write_text("mine")
    with pytest.raises(Refused, match="rows.csv is not what this program wrote"):
        evaluate.main(flags.parse(evaluate.Options, [*given, f"--report={tmp_path / 'report'}"]))
