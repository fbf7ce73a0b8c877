"""The viewer in a real browser, with software rendering: sliders, playing, what is drawn, downloads.

It needs playwright (`pip install playwright`, without its own browsers) and Chromium or Chrome.
"""

import io
import re
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from zero1a_jax.avatar import bind
from zero1a_jax.flame import forward, frame_target, procedural_head
from zero1a_jax.outputs import video, viewer
from zero1a_jax.showing import poses, stage
from zero1a_jax.sources.avatars import Loaded

WIDTH, HEIGHT = 1180, 720
SCENE = {"x": 0, "y": 0, "width": 840, "height": HEIGHT}  # beside the controls
# viser's own, of every page with Gaussians: three.js asks for the bounds of points with two coordinates.
KNOWN = "THREE.BufferGeometry.computeBoundingSphere(): Computed radius is NaN"


@pytest.fixture(scope="module")
def loaded():
    """The embedded head with smooth colours."""
    model = procedural_head()
    avatar = bind(jax.random.key(0), model, jnp.zeros(model.shape_basis.shape[2]), capacity=12_288)
    places = np.asarray(model.template)[np.asarray(model.faces)].mean(1)[np.asarray(avatar.face_ids)]
    sh = np.asarray(avatar.gaussians.sh).copy()
    sh[:, 0] += np.sin(60 * places + [0, 1, 2])
    logits = np.full(len(sh), 4.0, np.float32)
    gaussians = avatar.gaussians.replace(sh=sh.astype(np.float32), opacity_logits=logits)
    return Loaded(
        avatar.replace(gaussians=gaussians), model, {"background": [0.8, 0.9, 1.0], "seed": 3}, None
    )


@pytest.fixture(scope="module")
def clip(loaded):
    target = frame_target(loaded.model, loaded.avatar.shape)
    return viewer.Clip(poses.expressions(loaded.model, target, 64).flame, 5.0)


@pytest.fixture
def opened(browser, loaded, clip):
    """A page of a running viewer; what it complains of, or asks of others, fails the test."""
    pytest.importorskip("viser")
    stop, lines, wrong = threading.Event(), [], []
    options = {"port": 0, "stop": stop, "said": lines.append, "fps": 10.0}
    shown = stage.stage(loaded, size=128)
    shown.picture(shown.params({}), viewer_camera(shown))  # compiled before the browser waits for it
    thread = threading.Thread(target=viewer.serve, args=(shown, {"demo": clip}), kwargs=options)
    thread.start()
    while not lines:
        time.sleep(0.05)
    address = re.search(r"http://\S+", lines[0])[0]
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, accept_downloads=True)
    page = context.new_page()
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" and KNOWN not in m.text else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: None if local(r.url, address) else wrong.append(r.url))
    page.goto(address)
    page.get_by_text("driven by", exact=True).wait_for(timeout=60_000)
    yield page
    context.close()
    stop.set()
    thread.join(60)
    assert not thread.is_alive() and wrong == []


def local(url, address):
    return url.startswith((address, "data:", "blob:" + address))


def viewer_camera(shown):
    from zero1a_jax.geometry import portrait_camera

    return portrait_camera(jnp.asarray(shown.target), jnp.zeros(1), jnp.zeros(1), shown.size)


def row(page, label):
    """The control with this label."""
    return page.get_by_text(label, exact=True).locator("xpath=../../..")


def set_slider(page, label, value):
    number = row(page, label).locator("input").last
    number.fill(str(value))
    number.press("Enter")


def choose(page, label, value):
    row(page, label).locator("input").first.click()
    page.get_by_role("option", name=value, exact=True).click()


def picture(page):
    """What the scene shows when it has come to rest, [HEIGHT, 840, 3] in 0..1."""
    before, end = None, time.monotonic() + 60
    while time.monotonic() < end:
        page.wait_for_timeout(700)
        with Image.open(io.BytesIO(page.screenshot(clip=SCENE, timeout=120_000))) as image:
            now = np.asarray(image.convert("RGB"), np.float64) / 255
        if before is not None and np.array_equal(before, now):
            return now
        before = now
    raise AssertionError("the scene does not come to rest")


def still(page):
    """Stops the motion, so that the sliders' pose is shown, which is neutral."""
    page.get_by_role("button", name="neutral").click()


def test_a_slider_of_the_mouth_moves_the_mouth_alone(opened, loaded):
    still(opened)
    before = picture(opened)
    set_slider(opened, "mouthPucker", 0.9)
    changed = np.abs(picture(opened) - before).max(-1) > 8 / 255
    rows, columns = np.nonzero(changed)
    (left, top), (right, bottom) = mouth(loaded)
    assert len(rows) > 200
    assert top <= rows.min() and rows.max() <= bottom and left <= columns.min() and columns.max() <= right
    assert bottom - top < 0.35 * HEIGHT and top > 0.4 * HEIGHT  # that is the mouth, not the face
    assert np.ptp(before[250:450, 450:700].reshape(-1, 3), axis=0).min() > 0.3  # a face, not a plain page


def mouth(loaded):
    """Where the pucker moves the head, in pixels of the page: corners (left, top), (right, bottom)."""
    weights = ({}, {"mouthPucker": 0.9})
    places = [np.asarray(forward(loaded.model, stage.parameters(loaded, w))[0]) for w in weights]
    moved = np.linalg.norm(places[1] - places[0], axis=-1) > 5e-5
    target = np.asarray(frame_target(loaded.model, loaded.avatar.shape))
    focal = 0.5 * HEIGHT / np.tan(np.radians(11))
    corners = []
    for points in places:
        local = points[moved] - target
        depth = 1.0 - local[:, 2]
        across, up = focal * local[:, 0] / depth, focal * local[:, 1] / depth
        pixels = np.stack([WIDTH / 2 + across, HEIGHT / 2 - up], 1)
        corners += [pixels.min(0) - 12, pixels.max(0) + 12]
    return np.min(corners, 0), np.max(corners, 0)


def test_both_sides_go_together_unless_told_otherwise(opened):
    set_slider(opened, "mouthSmileLeft", 0.5)
    right = row(opened, "mouthSmileRight").locator("input").last
    for _ in range(50):
        if right.input_value() == "0.5":
            break
        opened.wait_for_timeout(100)
    assert right.input_value() == "0.5"
    assert row(opened, "driven by").locator("input").first.input_value() == "sliders"


def test_a_motion_plays_pauses_and_is_scrubbed(opened):
    number = row(opened, "frame").locator("input").last

    def shown():
        return int(number.input_value())

    first, end = shown(), time.monotonic() + 30
    while shown() < first + 3:
        assert time.monotonic() < end
        opened.wait_for_timeout(100)
    row(opened, "play").locator("input").uncheck(force=True)
    paused = picture(opened)
    at = shown()
    set_slider(opened, "frame", 30)  # of "mouth open"
    scrubbed = picture(opened)
    assert shown() == 30 != at
    assert np.abs(paused - scrubbed).max() > 0.1


def test_what_is_drawn_is_chosen(opened):
    still(opened)
    seen = {}
    for mode in ("Gaussians", "rasterizer", "depth", "mesh"):
        choose(opened, "draw", mode)
        seen[mode] = picture(opened)
    middle = {mode: image[200:520, 480:700] for mode, image in seen.items()}  # of the face
    coloured = {mode: np.median(np.ptp(image, axis=-1)) for mode, image in middle.items()}
    assert coloured["depth"] < 0.03 and coloured["rasterizer"] > 0.1
    difference = np.abs(middle["Gaussians"] - middle["rasterizer"]).mean()
    assert difference < 0.04 < np.abs(middle["mesh"] - middle["rasterizer"]).mean()
    row(opened, "landmarks").locator("input").check(force=True)
    red, end = 0, time.monotonic() + 120  # a slow machine shows the mesh alone for a while
    while red <= 300:
        assert time.monotonic() < end
        more = picture(opened) - seen["mesh"]
        red = (more[..., 0] - more[..., 2] > 0.2).sum()


def test_a_screenshot_and_a_recording_are_downloads_that_say_they_are_synthetic(opened, tmp_path):
    with opened.expect_download(timeout=60_000) as waiting:
        opened.get_by_role("button", name="screenshot").click()
    with Image.open(waiting.value.path()) as image:
        image.load()
        assert image.size == (WIDTH, HEIGHT) and image.text["Description"].startswith("synthetic")
        assert np.ptp(np.asarray(image)[200:520, 480:700].reshape(-1, 3), axis=0).min() > 60  # the face
    begin = time.monotonic()
    opened.get_by_role("button", name="record", exact=True).click()
    opened.wait_for_timeout(2500)
    with opened.expect_download(timeout=120_000) as waiting:
        opened.get_by_role("button", name="stop recording").click()
    waiting.value.save_as(tmp_path / "avatar.mp4")
    longest = 10 * (time.monotonic() - begin)  # ten frames a second, until the machine came to the click
    frames, fps = video.read(tmp_path / "avatar.mp4")
    assert fps == 10 and 15 <= len(frames) <= longest and frames.shape[1:] == (128, 128, 3)
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 20  # it moved
