"""Captures in VHAP's and GaussianAvatars' layout: what is read, and how what is wrong is told."""

import json

import numpy as np
import pytest
from PIL import Image

from zero1a_jax.converters import captures
from zero1a_jax.errors import Refused

# A camera 2 m in front of the origin that looks along -z, in OpenGL's axes: no turn at all.
MATRIX = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1]]


@pytest.fixture
def folder(tmp_path):
    for name in ("images", "fg_masks", "flame_param"):
        (tmp_path / name).mkdir()
    for time in range(3):
        for camera in range(2):
            for kind in ("images", "fg_masks"):
                Image.new("RGB", (40, 30), "red").save(tmp_path / kind / f"{time:05}_{camera:02}.png")
        (tmp_path / "flame_param" / f"{time:05}.npz").write_bytes(b"")
    return tmp_path


def frame(time, camera, **more):
    stem = f"{time:05}_{camera:02}.png"
    return {
        "timestep_index": time,
        "camera_index": camera,
        "file_path": f"images/{stem}",
        "fg_mask_path": f"fg_masks/{stem}",
        "flame_param_path": f"flame_param/{time:05}.npz",
        "transform_matrix": MATRIX,
        **more,
    }


SHARED = {"fl_x": 60.0, "fl_y": 61.0, "cx": 19.0, "cy": 16.0, "w": 40, "h": 30}


def write(folder, name="transforms.json", frames=None, **shared):
    frames = [frame(t, c) for t in (2, 0, 1) for c in (1, 0)] if frames is None else frames
    (folder / name).write_text(json.dumps({"frames": frames, **(shared or SHARED)}))
    return folder


def test_frames_come_by_time_and_camera(folder):
    found = captures.load(write(folder))
    assert [(f.time, f.camera) for f in found] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    first = found[0]
    assert first.image.name == "00000_00.png" and first.flame.name == "00000.npz"
    assert first.mask.parent.name == "fg_masks"
    np.testing.assert_array_equal([*first.focal, *first.center], [60, 61, 19, 16])
    # What is above and before an OpenGL camera has y down and z forward in OpenCV's.
    np.testing.assert_allclose(first.world_to_camera @ [0.1, 0.2, 0.0, 1.0], [0.1, -0.2, 2.0, 1.0])


def test_the_parts_of_a_split_are_one_capture(folder):
    write(folder, "transforms_train.json", [frame(0, 0), frame(1, 0)])
    write(folder, "transforms_test.json", [frame(1, 0), frame(2, 1)])
    assert [(f.time, f.camera) for f in captures.load(folder)] == [(0, 0), (1, 0), (2, 1)]


def test_what_a_file_leaves_out(folder):
    """Sizes of the picture, the field of view for the focal length, the middle, a suffix, no mask."""
    bare = frame(0, 0, file_path="images/00000_00", camera_angle_x=2 * np.arctan(0.5))
    del bare["fg_mask_path"]
    (found,) = captures.load(write(folder, frames=[bare], aabb_scale=1))
    assert found.image.name == "00000_00.png" and found.mask is None
    assert (found.width, found.height) == (40, 30)
    np.testing.assert_allclose([*found.focal, *found.center], [40, 40, 20, 15])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fl_x": "far"}, "frame 0: fl_x is 'far', no number"),
        ({"fl_x": -3.0}, "focal length is -3"),
        ({"w": 5}, "5 x 30 pixels"),
        ({"transform_matrix": [[1, 2], [3, 4]]}, "no rigid motion"),
        ({"transform_matrix": np.diag([2.0, 2, 2, 1]).tolist()}, "no rigid motion"),
        ({"transform_matrix": "none"}, "no matrix of numbers"),
        ({"file_path": 3}, "file_path is missing"),
        ({"timestep_index": None}, "timestep_index is None"),
    ],
)
def test_what_is_wrong_is_one_sentence(folder, wrong, message):
    with pytest.raises(Refused, match=message):
        captures.load(write(folder, frames=[frame(0, 0, **wrong)]))


def test_missing_and_damaged_files_are_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no transforms.json"):
        captures.load(tmp_path / "images")
    with pytest.raises(FileNotFoundError, match=r"frame 0: there is no .*9\.npz"):
        captures.load(write(folder, frames=[frame(0, 0, flame_param_path="flame_param/9.npz")]))
    (folder / "transforms.json").write_text("{")
    with pytest.raises(Refused, match="is no JSON"):
        captures.load(folder)
    for text in ("[]", '{"frames": []}', '{"frames": [3]}'):
        (folder / "transforms.json").write_text(text)
        with pytest.raises(Refused, match='no list "frames"'):
            captures.load(folder)
    (folder / "images" / "00000_00.png").write_text("no picture")
    with pytest.raises(Refused, match="00000_00.png is no picture"):
        captures.load(write(folder, frames=[frame(0, 0)]))
