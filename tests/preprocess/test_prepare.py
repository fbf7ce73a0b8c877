"""From pictures to portraits, with a detector that knows the truth."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from zero1a_jax import flame, geometry
from zero1a_jax.errors import NoFace
from zero1a_jax.preprocess import confidence, look, prepare_all
from zero1a_jax.preprocess.crop import around, chain, recentre, similarity, warp
from zero1a_jax.preprocess.detect import NO_FACE, Detection, find_detector, together
from zero1a_jax.preprocess.prepare import prepare, silhouette


@pytest.fixture(scope="module")
def scene(head, truth):
    """A clay head in a turned, shifted picture [300, 400], and a detector that knows it."""
    params, camera, detection = truth(4, 0.4, size=256)
    placed = similarity(np.array([128.0, 128.0]), 0.3, 0.8, 256)
    placed[:, 2] += (90.0, 20.0)

    @dataclasses.dataclass
    class Known:
        flame: object
        camera: object

    clay, cover = look.shaded(head, Known(params, camera))
    rgba = np.concatenate([clay, cover[..., None]], -1)
    back = np.linalg.inv(np.vstack([placed, [0, 0, 1]]))[:2]
    canvas = Image.fromarray(np.round(rgba * 255).astype(np.uint8))
    how = Image.Transform.AFFINE, back.ravel().tolist(), Image.Resampling.BILINEAR
    canvas = canvas.transform((400, 300), *how)
    canvas = np.asarray(canvas).astype(np.float32) / 255
    picture = canvas[..., :3] * canvas[..., 3:] + np.array([0.1, 0.3, 0.5]) * (1 - canvas[..., 3:])
    known = detection.moved(placed)

    def detector(shown):
        if shown.shape[:2] != (300, 400):
            raise NoFace(NO_FACE)  # the closer look: keep the first answer
        return known

    return np.round(picture * 255).astype(np.uint8), detector, params, known


def test_the_portrait_is_canonical(head, scene):
    picture, detector, params, _ = scene
    prepared = prepare_all(picture, model=head, detector=detector, size=128, background="white")
    portrait, camera = prepared.portrait, prepared.portrait.camera
    assert portrait.rgb.shape == (128, 128, 3) and portrait.alpha.shape == (128, 128)
    assert (camera.height, camera.width) == (128, 128)
    target = flame.frame_target(head, portrait.flame.shape)
    wanted = geometry.portrait_camera(target, 0.0, 0.0, 128)
    assert np.allclose(camera.focal, wanted.focal) and np.allclose(camera.center, 64)
    pixel, depth = geometry.project(camera, target[None])
    assert np.abs(np.asarray(pixel) - 64).max() < 0.3 and abs(float(depth[0]) - 1) < 0.01
    assert abs(float(camera.world_to_camera[0, 1])) < 0.005  # no roll
    yaw = math.asin(float(camera.world_to_camera[2, 0]) * -1)
    assert abs(yaw - 0.4) < 0.06
    assert float(prepared.fit.error) < 0.005
    found = prepared.fit
    signs = float(found.error), np.nan, float(found.rim), prepared.detection.spread  # no other look shows it
    np.testing.assert_allclose(found.expected, confidence.expected_error(*signs), rtol=1e-5)
    assert prepared.notes == ()


def test_an_unsure_fit_says_so(head, scene, monkeypatch):
    picture, detector, _, _ = scene
    monkeypatch.setattr(confidence, "expected_error", lambda *signs: 0.2)
    prepared = prepare_all(picture, model=head, detector=detector, size=64, rounds=0)
    assert prepared.fit.confidence < 0.02
    assert len(prepared.notes) == 1 and "may lie 20% of the eye distance off" in prepared.notes[0]


def test_landmarks_matte_and_background_agree_with_the_picture(head, scene):
    picture, detector, _, known = scene
    prepared = prepare_all(picture, model=head, detector=detector, size=160, background="#00ff00")
    points, _ = known.moved(prepared.transform).lookup(head.mediapipe_indices)
    assert np.abs(np.asarray(prepared.portrait.landmarks) - points).max() < 1e-2
    mask = silhouette(head, prepared.fit)
    alpha = np.asarray(prepared.portrait.alpha)
    both, either = ((alpha > 0.5) & mask).sum(), ((alpha > 0.5) | mask).sum()
    assert both / either > 0.93
    rgb = np.asarray(prepared.portrait.rgb)
    assert np.abs(rgb[alpha == 0] - (0, 1, 0)).max() < 1e-5
    assert np.abs(rgb[alpha > 0.99] - (0.1, 0.3, 0.5)).max(-1).mean() > 0.1


def test_a_person_whom_the_picture_cuts_off_goes_on(head, scene):
    """The last rows of the portrait lie below the picture's: there the person does not end."""
    picture, detector, _, known = scene
    whole = prepare_all(picture, model=head, detector=detector)
    inverse = np.linalg.inv(np.vstack([whole.transform, [0, 0, 1]]))
    cut = picture[: int((inverse @ [64.0, 116.0, 1.0])[1])]  # twelve rows fewer below the neck

    def of_the_cut(shown):
        if shown.shape[:2] != cut.shape[:2]:
            raise NoFace(NO_FACE)
        return known

    prepared = prepare_all(cut, model=head, detector=of_the_cut)
    away = scipy.ndimage.distance_transform_edt(~prepared.inside)
    person = scipy.ndimage.binary_erosion(whole.matte > 127, iterations=3)
    near, far = person & (away > 0) & (away < 6), person & (away > 9)
    assert near.sum() > 50 and far.sum() > 10
    assert prepared.matte[near].mean() > 240
    assert prepared.matte[far].max() == 0


def test_own_alpha_and_kept_background(head, scene):
    picture, detector, _, _ = scene
    alpha = np.zeros((300, 400, 1), np.uint8)
    alpha[:, 130:300] = 255
    rgba = np.concatenate([picture, alpha], -1)
    prepared = prepare_all(rgba, model=head, detector=detector, background="black")
    inside, _ = warp(alpha, prepared.transform, 128)
    assert np.abs(np.asarray(prepared.portrait.alpha) - inside[..., 0] * prepared.inside).mean() < 0.02
    kept = prepare(picture, model=head, detector=detector, background="keep")
    assert np.abs(np.asarray(kept.rgb)[2, 64] - (0.1, 0.3, 0.5)).max() < 0.02


def test_pictures_to_look_at(head, scene):
    picture, detector, _, _ = scene
    shown = look.pictures(head, prepare_all(picture, model=head, detector=detector, size=96))
    assert set(shown) == {"portrait", "matte", "landmarks", "overlay"}
    assert all(image.shape == (96, 96, 3) and image.dtype == np.uint8 for image in shown.values())
    assert (shown["overlay"] != shown["portrait"]).any()


def test_errors_are_one_sentence(head, scene, tmp_path, monkeypatch):
    picture, detector, _, known = scene

    def blind(_):
        raise NoFace(NO_FACE)

    for options, sentence in (
        ({"detector": blind}, "No face"),
        ({"size": 8}, "at least 32"),
        ({"background": "blue"}, "blue is no colour"),
        ({"detector": lambda _: dataclasses.replace(known, points=known.points * 0.01)}, "larger picture"),
    ):
        with pytest.raises(ValueError, match=sentence):
            prepare(picture, **{"model": head, "detector": detector, **options})
    with pytest.raises(ValueError, match="does not exist"):
        find_detector(tmp_path / "none")
    monkeypatch.setenv("ZERO1A_ASSETS", str(tmp_path / "gone"))
    with pytest.raises(ValueError, match="does not exist"):
        find_detector()


def test_warp_follows_its_transform():
    """A marked pixel lands where the transform says, and coverage ends at the picture's border."""
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[60:68, 100:108] = 255
    for scale, size in ((2.0, 256), (0.5, 64)):
        transform = similarity(np.array([110.0, 70.0]), 0.4, scale, size)
        crop, inside = warp(picture, transform, size)
        y, x = np.mgrid[:size, :size] + 0.5
        weight = crop[..., 0] / crop[..., 0].sum()
        found = np.array([(x * weight).sum(), (y * weight).sum()])
        assert np.abs(found - (transform[:, :2] @ (104.0, 64.0) + transform[:, 2])).max() < 0.1
        assert crop[..., 0].sum() == pytest.approx(64 * scale**2, rel=0.03)
    _, inside = warp(picture, similarity(np.array([0.0, 100.0]), 0.0, 1.0, 64), 64)
    assert (inside[:, :31] == 0).all() and (inside[:, 33:] == 1).all()


def test_crops_are_upright_and_recentred(truth):
    _, camera, detection = truth(0, 0.0)
    turned = detection.moved(similarity(np.array([128.0, 128.0]), -0.5, 1.0, 256))
    transform = around(turned.points, turned.rotation, 256)
    assert math.atan2(transform[1, 0], transform[0, 0]) == pytest.approx(-0.5, abs=0.02)
    back = turned.moved(transform).rotation
    assert abs(back[0, 1]) < 1e-5
    again = recentre(np.eye(2, 3), camera, np.array([0.0, 0.0, 0.0]), distance=0.5)
    assert np.linalg.det(again[:, :2]) > 1
    assert np.allclose(chain(again, np.eye(2, 3)), again)


def test_detection_lookup_and_turn():
    points = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    detection = Detection(points, np.array([5, 2]), np.eye(3), 1.0, {}, 1, "test")
    found, known = detection.lookup(np.array([2, 9, 5]))
    assert known.tolist() == [True, False, True] and np.allclose(found[[0, 2]], points[::-1])
    clockwise = detection.moved(similarity(np.zeros(2), -np.pi / 2, 1.0, 2))
    assert np.allclose(clockwise.points, [[-1, 2], [-3, 4]])  # about (0, 0), which lands at (1, 1)
    assert np.allclose(clockwise.rotation @ (0, 1, 0), (1, 0, 0), atol=1e-6)  # up now points right


def test_a_face_of_several_can_be_chosen(head, scene):
    picture, detector, _, known = scene
    small = dataclasses.replace(known, points=known.points * 0.2)
    both = {"model": head, "detector": lambda shown: together([known, small]), "size": 64}
    alone, first = prepare_all(picture, model=head, detector=detector, size=64), prepare_all(picture, **both)
    assert alone.notes == () and np.array_equal(alone.portrait.rgb, first.portrait.rgb)
    assert first.notes == ("2 faces were found, the largest is used: --face_index=0 to 1 chooses.",)
    both["detector"] = lambda shown: together([small, known])
    second = prepare_all(picture, **both, face_index=1)
    assert np.array_equal(alone.portrait.rgb, second.portrait.rgb)
    assert second.notes == ("2 faces were found, number 1 by size is used: --face_index=0 to 1 chooses.",)
    with pytest.raises(ValueError, match="only 2 faces were found"):
        prepare(picture, **both, face_index=2)


def test_the_face_stays_chosen_in_the_closer_look(head, scene):
    """The crop may show both faces, the other one first."""
    picture, _, _, known = scene
    other = dataclasses.replace(known, points=known.points - (60.0, 0.0))
    looks = []

    def detector(shown):
        if shown.shape[:2] == (300, 400):
            return together([known, other])
        looks.append(shown)
        transform = around(known.points, known.rotation, shown.shape[0])
        return together([other.moved(transform), known.moved(transform)])

    prepared = prepare_all(picture, model=head, detector=detector, size=64)
    points, _ = known.moved(prepared.transform).lookup(head.mediapipe_indices)
    assert looks and np.abs(np.asarray(prepared.portrait.landmarks) - points).max() < 8.0


def test_faces_found_twice_count_once(scene):
    _, _, _, known = scene
    shifted = dataclasses.replace(known, points=known.points + 3.0)
    away = dataclasses.replace(known, points=known.points + (500.0, 0.0))
    found = together([known, shifted, away])
    assert found.faces == 2 and len(found.others) == 1 and np.array_equal(found.points, known.points)
    chosen = found.face(1)
    assert np.array_equal(chosen.points, away.points)
    assert np.array_equal(chosen.others[0].points, known.points) and chosen.others[0].others == ()
    with pytest.raises(ValueError, match="No face"):
        together([])


def test_a_mask_of_the_users_own(head, scene, tmp_path):
    picture, detector, _, _ = scene
    mask = np.zeros((300, 400), np.uint8)
    mask[:, 130:300] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    options = {"model": head, "detector": detector, "size": 64}
    prepared = prepare_all(picture, **options, mask=tmp_path / "mask.png")
    inside, _ = warp(mask[..., None], prepared.transform, 64)
    assert np.abs(np.asarray(prepared.portrait.alpha) - inside[..., 0] * prepared.inside).mean() < 0.02
    below = np.zeros_like(mask)
    below[260:] = 255
    Image.fromarray(below).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match="hides most of the face"):
        prepare(picture, **options, mask=tmp_path / "mask.png")

    def blind(_):
        raise NoFace(NO_FACE)

    with pytest.raises(NoFace, match="in what the picture's mask shows"):
        prepare(picture, model=head, detector=blind, mask=tmp_path / "mask.png")
    Image.fromarray(mask[:-1]).save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match="must agree"):
        prepare(picture, **options, mask=tmp_path / "mask.png")
