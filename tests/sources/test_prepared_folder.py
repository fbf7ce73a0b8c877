"""A prepared portrait: its folder gives the bits of the picture, corrections count, damage is refused."""

import dataclasses
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import prepare
from zero1a_jax import flame, geometry, lock, preprocess
from zero1a_jax.config import Input, from_values
from zero1a_jax.errors import Refused
from zero1a_jax.preprocess import look
from zero1a_jax.preprocess.detect import Detection
from zero1a_jax.preprocess.fit import FLIP
from zero1a_jax.sources import portraits, prepared_folder
from zero1a_jax.training import run, workdir

SIZE = 96


@dataclasses.dataclass
class Fitted:
    flame: object
    camera: object


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A clay head before blue in a file, its true parameters, and a detector that knows its points."""
    head = flame.procedural_head()
    params = flame.zero_params(head)
    params = params.replace(shape=np.random.default_rng(3).normal(size=params.shape.shape).astype(np.float32))
    camera = geometry.portrait_camera(flame.frame_target(head, params.shape), 0.25, 0.0, 256)
    clay, cover = look.shaded(head, Fitted(params, camera))
    picture = np.where(cover[..., None], clay, (0.1, 0.3, 0.5))
    path = tmp_path_factory.mktemp("scene") / "photo.png"
    Image.fromarray(np.round(picture * 255).astype(np.uint8)).save(path)
    vertices, _ = flame.forward(head, params)
    points = np.asarray(geometry.project(camera, flame.landmarks_mediapipe(head, vertices))[0])
    rotation = FLIP @ np.asarray(camera.world_to_camera)[:3, :3]
    known = Detection(points, np.asarray(head.mediapipe_indices), rotation, 1.0, {}, 1, "truth", 0.0005)
    return head, path, params, lambda shown: known


@pytest.fixture(scope="module", autouse=True)
def known_fit(scene):
    """The fit knows the parameters and solves for the camera alone: nothing has to be compiled."""
    head, _, params, _ = scene

    def fit(model, detection, camera):
        placed, error = preprocess.place(model, params, detection.points, camera)
        vertices, _ = flame.forward(model, params)
        points, _ = geometry.project(placed, flame.landmarks_mediapipe(model, vertices))
        return preprocess.Fit(
            flame=params,
            camera=placed,
            points=points,
            error=jnp.float32(error),
            interocular=jnp.float32(0.09),
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["zero1a_jax.preprocess.prepare"], "fit", fit)
        yield


@pytest.fixture(scope="module")
def made(scene, tmp_path_factory):
    """The folder that experiments.prepare writes for it, and what it made before."""
    _, path, _, detector = scene
    out = tmp_path_factory.mktemp("prepared") / "photo"
    kept, prepare_all = [], preprocess.prepare_all

    def keep(*arguments, **options):
        kept.append(prepare_all(*arguments, **options))
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preprocess, "find_detector", lambda assets: detector)
        patch.setattr(preprocess, "prepare_all", keep)
        prepare.main(prepare.Options(image=str(path), out=str(out), size=SIZE))
    return out, kept[0]


@pytest.fixture(scope="module")
def folder(made):
    return made[0]


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def prepare_again(made, scene, out, image="", **options):
    """The command on the same picture, without finding and fitting the face anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preprocess, "prepare_all", lambda *arguments, **options: made[1])
        patch.setattr(portraits, "source", lambda image: scene[1])
        prepare.main(prepare.Options(image=image or str(scene[1]), out=str(out), size=SIZE, **options))


def test_pictures_of_a_rendered_person_say_so_and_photographs_do_not(made, scene, tmp_path):
    prepare_again(made, scene, tmp_path, image="synthetic:31")
    for name in (portraits.PICTURE, "portrait.png", "landmarks.png", "overlay.png", "sheet.png"):
        with Image.open(tmp_path / name) as rendered, Image.open(made[0] / name) as taken:
            said = rendered.text["Description"]
            assert said.startswith("synthetic: made by zero1a_jax") and "seed 31" in said and not taken.text
            np.testing.assert_array_equal(np.asarray(rendered), np.asarray(taken))


def test_our_own_folder_is_written_again(made, scene, copy):
    before = (copy / portraits.MATTE).read_bytes()
    prepare_again(made, scene, copy)
    assert (copy / portraits.MATTE).read_bytes() == before


@pytest.mark.parametrize("name", [portraits.MATTE, portraits.TRACKER, "notes.txt"])
def test_what_others_wrote_or_edited_is_left_alone(made, scene, copy, name, capsys):
    (copy / name).write_bytes(b"precious")
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(Refused, match=f"{name} is not what this program wrote"):
        prepare_again(made, scene, copy)
    assert before == {path.name: path.read_bytes() for path in copy.iterdir()}
    prepare_again(made, scene, copy, overwrite=True)
    assert ((copy / name).read_bytes() == b"precious") == (name != portraits.MATTE)
    assert ("tracker.npz of before stays" in capsys.readouterr().out) == (name == portraits.TRACKER)


def test_a_second_prepare_in_one_folder_waits_for_nobody(made, scene, tmp_path):
    with lock.held(tmp_path / "out"), pytest.raises(Refused, match="another process writes to"):
        prepare_again(made, scene, tmp_path / "out")


def portrait_of(scene, tmp_path, image, **changes):
    head, _, _, detector = scene
    values = {"image": str(image), "workdir": str(tmp_path / "run"), "size": SIZE} | changes
    return run.load_portrait(from_values(values), head, detector, tmp_path / "run")


def test_the_folder_gives_the_bits_of_the_picture(scene, folder, tmp_path):
    one = portrait_of(scene, tmp_path, scene[1])
    other = portrait_of(scene, tmp_path, folder)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    names = (
        "portrait.png",
        "landmarks.png",
        "overlay.png",
        "sheet.png",
        *map(str, portraits.files(Input(image=str(folder)))),
    )
    assert all((folder / name).is_file() for name in names) and len(names) == 7


def test_an_edited_mask_and_another_background_are_honoured(scene, copy, tmp_path):
    matte = np.asarray(Image.open(copy / portraits.MATTE)).copy()
    matte[:, : SIZE // 2] = 0
    Image.fromarray(matte).convert("RGB").save(copy / portraits.MATTE)  # as a paint program may
    portrait = portrait_of(scene, tmp_path, copy, background="#ff0000")
    assert (np.asarray(portrait.alpha) == matte / np.float32(255)).all()
    rgb = np.asarray(portrait.rgb)
    assert np.abs(rgb[:, : SIZE // 2] - (1, 0, 0)).max() < 1e-6
    assert np.abs(rgb[SIZE // 2, SIZE // 2 + 5] - rgb[SIZE // 2, 0]).max() > 0.2


def test_another_size_shows_the_same(scene, folder, tmp_path):
    one, other = portrait_of(scene, tmp_path, folder), portrait_of(scene, tmp_path, folder, size=48)
    assert other.rgb.shape == (48, 48, 3) and (other.camera.height, other.camera.width) == (48, 48)
    np.testing.assert_allclose(other.landmarks, np.asarray(one.landmarks) / 2, atol=1e-4)
    vertices, _ = flame.forward(scene[0], one.flame)
    pixels = [np.asarray(geometry.project(p.camera, vertices)[0]) for p in (one, other)]
    np.testing.assert_allclose(pixels[1], pixels[0] / 2, atol=1e-3)


def save_tracker(copy, params, head, **changes):
    names = {
        "shape": params.shape,
        "expr": np.asarray(params.expression)[None],
        "jaw_pose": np.zeros((1, 3)),
        "eyes_pose": np.zeros((1, 6)),
        "flame_version": np.str_(head.version),
    }
    np.savez(copy / portraits.TRACKER, **(names | changes))


def test_the_parameters_of_a_tracker_find_their_place(scene, copy, tmp_path, capsys):
    """True shape and expression, in a tracker's file with a world of its own."""
    head, _, params, _ = scene
    save_tracker(copy, params, head, rotation=np.ones((1, 3)), translation=np.ones((1, 3)))
    portrait = portrait_of(scene, tmp_path, copy)
    assert "tracker.npz is used" in capsys.readouterr().out
    np.testing.assert_array_equal(portrait.flame.shape, params.shape)
    vertices, _ = flame.forward(head, portrait.flame)
    seen, _ = geometry.project(portrait.camera, flame.landmarks_mediapipe(head, vertices))
    assert np.linalg.norm(seen - portrait.landmarks, axis=-1).mean() < 0.05
    save_tracker(copy, params.replace(shape=-8 * params.shape), head)
    with pytest.raises(ValueError, match="does not fit"):
        portrait_of(scene, tmp_path, copy)


def rewrite(copy, **changes):
    with np.load(copy / portraits.PARAMETERS) as data:
        arrays = dict(data) | changes
    np.savez(copy / portraits.PARAMETERS, **{k: v for k, v in arrays.items() if v is not None})


SPOILT = {
    "no picture": (lambda c, h: (c / portraits.PICTURE).unlink(), "picture.png is missing"),
    "no parameters": (lambda c, h: (c / portraits.PARAMETERS).unlink(), "portrait.npz is missing"),
    "matte of another size": (
        lambda c, h: Image.new("L", (SIZE, SIZE + 1)).save(c / portraits.MATTE),
        "must agree",
    ),
    "black matte": (lambda c, h: Image.new("L", (SIZE, SIZE)).save(c / portraits.MATTE), "shows nobody"),
    "no matte": (lambda c, h: (c / portraits.MATTE).write_text("white"), "not a picture"),
    "no square": (lambda c, h: Image.new("RGB", (SIZE, 64)).save(c / portraits.PICTURE), "no square"),
    "cut": (lambda c, h: (c / portraits.PARAMETERS).write_bytes(b"PK\3\4"), "portrait.npz"),
    "missing key": (lambda c, h: rewrite(c, landmarks=None), "lacks landmarks"),
    "wrong shape": (lambda c, h: rewrite(c, **{"flame.jaw": np.zeros(4)}), "flame.jaw must hold"),
    "not finite": (lambda c, h: rewrite(c, **{"flame.jaw": np.full(3, np.nan)}), "flame.jaw must hold"),
    "no camera": (lambda c, h: rewrite(c, **{"camera.world_to_camera": np.ones((4, 4))}), "no camera"),
    "another head": (lambda c, h: rewrite(c, flame_version=np.str_("flame2023")), "check --flame"),
    "no tracker": (lambda c, h: np.savez(c / portraits.TRACKER, shape=np.zeros(3)), "tracker.npz"),
    "tracker of FLAME": (
        lambda c, h: np.savez(c / portraits.TRACKER, shape=np.zeros(3), exp=np.zeros(2), jaw=np.zeros(3)),
        "give the right --flame",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_folders_are_refused(scene, copy, name):
    spoil, sentence = SPOILT[name]
    spoil(copy, scene[0])
    with pytest.raises((ValueError, FileNotFoundError), match=sentence) as caught:
        prepared_folder.read(copy, scene[0], size=SIZE, background="white")
    assert "\n" not in str(caught.value)


def test_checks_before_anything_slow(scene, copy, tmp_path):
    given = {"image": str(copy), "workdir": str(tmp_path / "w"), "size": SIZE}
    assert portraits.problems(from_values(given).input) == []
    (wrong,) = portraits.problems(from_values(given | {"face_index": 1}).input)
    assert "edit matte.png" in wrong
    (wrong,) = portraits.problems(Input(image=str(scene[1]), mask=str(tmp_path / "none.png")))
    assert "check --mask" in wrong
    shutil.rmtree(copy)
    copy.mkdir()
    (wrong,) = portraits.problems(from_values(given).input)
    assert "lacks picture.png and matte.png and portrait.npz" in wrong


def test_a_folder_that_changed_does_not_resume(copy, tmp_path):
    config = from_values({"image": str(copy), "workdir": str(tmp_path / "w")})
    workdir.create(config, workdir.describe(config, ["cpu"], {}), portrait=b"p")
    assert workdir.conflicts(config) == []
    Image.new("L", (SIZE, SIZE)).save(copy / portraits.MATTE)
    (found,) = workdir.conflicts(config)
    assert "has changed since the run" in found
