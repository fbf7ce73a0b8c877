"""The page in a real browser, with software rendering and without a network: it draws as the rasterizer does.

It needs playwright (`pip install playwright`, without its own browsers) and Chromium or Chrome.
"""

import base64
import io
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from zero1a_jax.avatar import bind
from zero1a_jax.flame import forward, frame_target, procedural_head
from zero1a_jax.geometry import portrait_camera, project
from zero1a_jax.geometry.rotations import quat_normalize
from zero1a_jax.provenance import Provenance
from zero1a_jax.showing import living, playback, poses
from zero1a_jax.sources.avatars import Loaded

SIZE = 192
LEAST = 35.0  # dB between the page's picture and the rasterizer's
# Weights by name, then the camera's yaw and pitch in degrees.
VIEWS = (
    ({}, 0, 0),
    ({"jawOpen": 0.8, "tongueOut": 0.5}, 30, 0),
    ({"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9, "eyeBlinkLeft": 1}, -45, 5),
    ({"mouthPucker": 0.9, "headYaw": 25, "headPitch": -10, "headRoll": 8}, 0, -10),
    ({"browInnerUp": 0.9, "eyeYaw": 20, "eyePitch": 8, "jawPitch": 15}, 75, 10),
)


def coloured(version="", count=None, degree=1):
    """The embedded head with an opaque skin and smooth colours that depend a little on the view."""
    model = procedural_head()
    shape, capacity = jnp.zeros(model.shape_basis.shape[2]), max(12_288, count or 0)
    key = jax.random.key(0)
    avatar = bind(key, model, shape, capacity=capacity, count=count, degree=degree, opacity=0.9)
    rng = np.random.default_rng(0)
    places = np.asarray(model.template)[np.asarray(model.faces)].mean(1)[np.asarray(avatar.face_ids)]
    sh = rng.normal(size=avatar.gaussians.sh.shape) * 0.05
    sh[:, 0] += np.sin(40 * places + [0, 1, 2])
    quats = avatar.gaussians.quats + 0.2 * rng.normal(size=avatar.gaussians.quats.shape)
    gaussians = avatar.gaussians.replace(sh=sh.astype(np.float32), quats=quat_normalize(quats))
    named = model.replace(version=version or model.version)
    return Loaded(avatar.replace(gaussians=gaussians), named, {"background": [0.8, 0.9, 1.0]}, None)


@pytest.fixture(scope="module")
def avatar():
    return coloured()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page from disk, without a network; what it complains of fails the test."""
    contexts, wrong = [], []

    def open_page(loaded, width=1180, height=860, label=False):
        about = Provenance("2026-07-31", seed=3, label=label)
        (tmp_path / "avatar.html").write_text(living.text(loaded, name="run", provenance=about), "utf-8")
        size = {"width": width, "height": height}
        context = browser.new_context(viewport=size, offline=True, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else wrong.append(r.url),
        )
        page.goto((tmp_path / "avatar.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def wait(page, condition):
    """Until a condition holds, at most a minute. Playwright's own wait needs eval, which the page forbids."""
    end = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


def picture(page):
    """The page's picture in 0..1, [SIZE, SIZE, 3]."""
    data = page.evaluate("size => zero1a.picture(size)", SIZE)
    with Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))) as image:
        return np.asarray(image.convert("RGB"), np.float64) / 255


def parameters(loaded, weights):
    """What the page's sliders mean: Live Link's angles in degrees, Ry Rx Rz, at neck, jaw and eyes."""

    def turn(yaw, pitch, roll=""):
        angles = [weights.get(name, 0) for name in (yaw, pitch, roll)]
        return jnp.array(Rotation.from_euler("YXZ", angles, degrees=True).as_rotvec(), jnp.float32)

    names = {name: w for name, w in weights.items() if name in loaded.model.expression_names}
    eyes = jnp.stack([turn("eyeYaw", "eyePitch")] * 2)
    posed = poses.from_arkit(loaded.model, names)
    return posed.replace(neck=turn("headYaw", "headPitch", "headRoll"), jaw=turn("", "jawPitch"), eyes=eyes)


def camera(loaded, yaw=0.0, pitch=0.0):
    target = frame_target(loaded.model, loaded.avatar.shape)
    return portrait_camera(target, jnp.radians(jnp.array([yaw])), jnp.radians(jnp.array([pitch])), SIZE)


def rendered(loaded, flames, cameras):
    """Our own pictures [K, SIZE, SIZE, 3]."""
    stack = lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves])  # noqa: E731
    flame = jax.tree.map(stack, *flames)
    several = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *cameras)
    behind = np.array(loaded.meta["background"], np.float32)
    return [rgb for rgb, _ in playback.render(loaded.avatar, loaded.model, flame, several, background=behind)]


def psnr(one, other):
    return -10 * np.log10(np.mean((np.asarray(one, np.float64) - other) ** 2))


def test_five_poses_look_as_the_rasterizer_draws_them(opened, avatar):
    page, ours = opened(avatar), []
    theirs = []
    for weights, yaw, pitch in VIEWS:
        page.evaluate("([w, yaw, pitch]) => zero1a.set(w, { yaw, pitch })", [weights, yaw, pitch])
        theirs.append(picture(page))
        ours.append((parameters(avatar, weights), camera(avatar, float(yaw), float(pitch))))
    values = [psnr(a, b) for a, b in zip(rendered(avatar, *zip(*ours, strict=True)), theirs, strict=True)]
    print("dB against the rasterizer:", np.round(values, 1))
    assert min(values) >= LEAST
    assert psnr(theirs[0], theirs[1]) < 25  # the poses differ


def test_a_slider_of_the_mouth_moves_the_mouth_alone(opened, avatar):
    page = opened(avatar)
    page.evaluate("zero1a.set({})")
    before = picture(page)
    page.locator("input[name=mouthPucker]").fill("0.9")
    changed = np.abs(picture(page) - before).max(-1) > 2 / 255
    places = [forward(avatar.model, parameters(avatar, w))[0] for w in ({}, {"mouthPucker": 0.9})]
    pixels = [np.asarray(project(camera(avatar), p[None])[0][0]) for p in places]
    moved = np.linalg.norm(places[1] - places[0], axis=-1) > 5e-5
    corners = np.concatenate([p[moved] for p in pixels])
    (left, top), (right, bottom) = corners.min(0) - 6, corners.max(0) + 6
    rows, columns = np.nonzero(changed)
    assert len(rows) > 50
    assert top <= rows.min() and rows.max() <= bottom and left <= columns.min() and columns.max() <= right
    assert bottom - top < 0.35 * SIZE and top > 0.4 * SIZE  # that is the mouth, not the face
    assert page.locator("label:has(input[name=mouthPucker]) output").inner_text() == "0.90"


def test_both_sides_go_together_unless_told_otherwise(opened, avatar):
    page = opened(avatar)
    page.locator("input[name=mouthSmileLeft]").fill("0.5")
    assert page.locator("input[name=mouthSmileRight]").input_value() == "0.5"
    page.locator("#both").uncheck()
    page.locator("input[name=mouthSmileLeft]").fill("0.8")
    assert page.locator("input[name=mouthSmileRight]").input_value() == "0.5"


def test_motions_play_and_stop(opened, avatar):
    page = opened(avatar)
    wait(page, "zero1a.page.playing && zero1a.page.time > 1")
    page.locator("#play").click()
    assert not page.evaluate("zero1a.page.playing")
    pictures = []
    for number in (0, 31):  # of "expressions": the mouth opens
        page.evaluate("number => zero1a.frame(1, number)", number)
        pictures.append(picture(page))
    target = frame_target(avatar.model, avatar.avatar.shape)
    flame = jax.tree.map(lambda x: x[31], poses.expressions(avatar.model, target, SIZE).flame)
    (ours,) = rendered(avatar, [flame], [camera(avatar)])
    assert psnr(pictures[1], ours) >= LEAST > psnr(pictures[0], ours)
    page.locator("#motion").select_option("1")  # plays at once
    wait(page, "zero1a.page.playing && zero1a.page.time > 0")


def test_the_mouse_turns_the_camera(opened, avatar):
    page = opened(avatar)
    page.evaluate("zero1a.set({})")
    box = page.locator("#head").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 200)
    page.mouse.up()
    page.mouse.wheel(0, -300)
    view = page.evaluate("zero1a.page.view")
    assert view["yaw"] == pytest.approx(35) and view["pitch"] == 0
    wait(page, "zero1a.page.view.distance < 0.8")
    page.locator("#reset").click()
    assert page.evaluate("zero1a.page.view") == {"yaw": 0, "pitch": 0, "distance": 1}


def test_a_screenshot_says_that_it_is_synthetic(opened, avatar):
    page = opened(avatar, label=True)
    with page.expect_download() as waiting:
        page.locator("#photo").click()
    with Image.open(waiting.value.path()) as image:
        image.load()
        assert image.size == (1024, 1024) and image.text["Description"].startswith(
            "synthetic: made by zero1a_jax"
        )
    assert page.locator("#mark").is_visible()


def test_a_baked_head_fades_between_its_poses_and_says_why(opened):
    loaded = coloured("FLAME 2023")
    page = opened(loaded)
    assert page.locator("#why").is_visible() and not page.locator("#panel").is_visible()
    page.get_by_role("button", name="mouth open").click()
    wait(page, "!zero1a.page.fade && zero1a.page.weights.share === 1")
    index = [name for name, _, _ in poses.SHOWN].index("mouth open")
    (ours,) = rendered(loaded, [poses.expression(loaded.model, index)], [camera(loaded)])
    assert psnr(picture(page), ours) >= LEAST


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_it_fits_the_window(opened, avatar, width):
    page = opened(avatar, width=width, height=800)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = page.locator("#head").bounding_box()
    assert box["width"] == pytest.approx(box["height"], abs=1) and box["width"] > 250


SPEED = """([size, frames]) => {
  const page = zero1a.page, gl = page.splats.gl, pixel = new Uint8Array(4), camera = page._camera(page.view);
  page.visible = false;
  page._hold();
  page.canvas.width = page.canvas.height = size;
  const timed = (step) => {
    step(0);
    const start = performance.now();
    for (let k = 1; k <= frames; k++) step(k);
    return (performance.now() - start) / frames;
  };
  const pose = (k) => page.body.pose(page._moved(page.motions[0], 5 * k));
  const draw = () => {
    page.splats.draw(page.body.frames, camera, page.background);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel); // waits until it is drawn
  };
  return [timed(pose), timed(() => page.splats._sort(page.body.frames, camera.view)), timed(draw)];
}"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [10_162, 50_000])
def test_frames_a_second(opened, count):
    """Milliseconds of a frame, to be read with -s: posing, sorting, and drawing with the sorting in it."""
    page = opened(coloured(count=count, degree=0))
    for size in (128, 256, 512):
        pose, sort, draw = page.evaluate(SPEED, [size, 20])
        rate = 1000 / (pose + draw)
        print(f"{count} at {size}: pose {pose:.1f}, sort {sort:.1f}, draw {draw:.1f} ms: {rate:.1f} a second")
        assert rate > 0.5
