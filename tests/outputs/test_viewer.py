"""The viewer: what it sends, who may ask for it, its controls and its loop. In a browser: tests/showing."""

import dataclasses
import http.client
import math
import re
import socket
import sys
import threading
import time
import types

import numpy as np
import pytest

from zero1a_jax.errors import Refused
from zero1a_jax.outputs import viewer
from zero1a_jax.outputs.viewer import panel, recorder, scene, server
from zero1a_jax.types import FlameParams, Gaussians

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455's example


def gaussians():
    return Gaussians(
        means=np.array([[0.0, 0, 0], [0.1, 0, 0]]),
        log_scales=np.log(np.array([[0.01, 0.02, 0.03], [0.01, 0.02, 0.03]])),
        quats=np.array([[2.0, 0, 0, 0], [1, 0, 0, 1]]),  # unrotated, and a quarter turn about z
        sh=np.zeros((2, 1, 3)),
        opacity_logits=np.array([0.0, -30]),
    )


def params(jaw=0.0):
    z = np.zeros(3, np.float32)
    opened = np.array([jaw, 0, 0], np.float32)
    return FlameParams(
        np.zeros(4, np.float32), np.zeros(5, np.float32), z, z, opened, np.zeros((2, 3), np.float32), z
    )


def stage(**changes):
    """A stage of two Gaussians; what is asked for is kept in its list `asked`."""
    asked = []

    def posed(now):
        asked.append(float(now.jaw[0]))
        return gaussians()

    made = viewer.Stage(
        names=("jawOpen", "mouthSmileLeft", "mouthSmileRight", "headYaw"),
        params=lambda weights: params(weights.get("jawOpen", 0.0)),
        gaussians=posed,
        vertices=lambda now: np.eye(3),
        faces=np.array([[0, 1, 2]]),
        landmarks=lambda now: np.zeros((0, 3)),
        picture=lambda now, camera: (np.full((8, 8, 3), now.jaw[0]), np.ones((8, 8))),
        size=8,
        target=np.zeros(3),
        background=np.ones(3),
    )
    return dataclasses.replace(made, **changes), asked


def test_splats():
    sent = viewer.splats(gaussians())
    np.testing.assert_allclose(sent["covariances"][0], np.diag([1e-4, 4e-4, 9e-4]), atol=1e-9)
    np.testing.assert_allclose(sent["covariances"][1], np.diag([4e-4, 1e-4, 9e-4]), atol=1e-9)
    np.testing.assert_allclose(sent["rgbs"], 0.5)
    np.testing.assert_allclose(sent["opacities"][:, 0], [0.5, 0], atol=1e-9)


def test_sliders_stand_in_groups_and_sides_go_together():
    names = ["browInnerUp", "jawOpen", "eyeBlinkLeft", "eyeYaw", "headYaw", "cheekPuff", "expression 0"]
    assert panel.grouped(names) == {
        "jaw and mouth": ["jawOpen"],
        "eyes": ["eyeBlinkLeft"],
        "brows": ["browInnerUp"],
        "cheeks and nose": ["cheekPuff"],
        "head, neck and gaze": ["eyeYaw", "headYaw"],
        "expressions": ["expression 0"],
    }
    assert panel.partner("mouthSmileLeft") == "mouthSmileRight"
    assert panel.partner("eyeLookInLeft") == "eyeLookOutRight"
    assert [panel.partner(name) for name in ("jawOpen", "jawLeft", "mouthRight", "eyeYaw")] == [None] * 4


@pytest.mark.parametrize(
    "host, origin, answered",
    [
        ("127.0.0.1:8080", None, True),
        ("localhost:9000", "http://localhost:9000", True),  # through an ssh tunnel
        ("LOCALHOST:8080", "http://localhost:8080", True),
        ("proxy.example", "https://proxy.example", True),  # named
        ("evil.example:8080", None, False),  # a name that points here
        ("evil.example:8080", "http://evil.example:8080", False),
        ("127.0.0.1:8080", "http://evil.example", False),  # another page
        ("127.0.0.1:8080", "http://127.0.0.1:3000", False),  # of another program here
        ("127.0.0.1:8080", "null", False),  # a page from disk
        ("127.0.0.1.evil.example", None, False),
        ("", None, False),
        ("[::1", None, False),
    ],
)
def test_who_is_answered(host, origin, answered):
    assert server.allowed(host, origin, names=(*server.NAMES, "proxy.example")) is answered


def asked(port, host, origin=None, websocket=False):
    """The status that the server answers with."""
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    if websocket:
        headers |= {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        headers |= {"Sec-WebSocket-Key": KEY}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def serving(*arguments, **options):
    """A viewer in a thread: its address's port, and what ends it."""
    stop, lines = threading.Event(), []
    keywords = {"stop": stop, "said": lines.append, "port": 0, **options}
    thread = threading.Thread(target=viewer.serve, args=arguments, kwargs=keywords)
    thread.start()
    until(lambda: lines)
    port = int(re.fullmatch(r"open http://127.0.0.1:(\d+) \(Ctrl-C ends\)", lines[0])[1])

    def end():
        stop.set()
        thread.join(30)
        assert not thread.is_alive()

    return port, end


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_answers_this_machine_only_and_says_which_port_it_took(monkeypatch, capsys):
    pytest.importorskip("viser")
    other = socket.socket()  # another program on the port that was asked for
    other.bind(("127.0.0.1", 0))
    other.listen()
    taken, bound, original = other.getsockname()[1], [], socket.socket.bind

    def bind(self, address):
        bound.append(address)
        return original(self, address)

    monkeypatch.setattr(socket.socket, "bind", bind)
    port, end = serving(stage()[0], port=taken)
    try:
        own = f"127.0.0.1:{port}"
        assert port != taken
        assert asked(port, own) == 200 and asked(port, f"localhost:{port}") == 200
        assert asked(port, f"evil.example:{port}") == 403
        assert capsys.readouterr().out == ""  # viser is silent, above all about ports that it does not have
        assert asked(port, own, f"http://{own}", websocket=True) == 101
        assert asked(port, own, "http://evil.example", websocket=True) == 403
        assert asked(port, f"evil.example:{port}", f"http://evil.example:{port}", websocket=True) == 403
    finally:
        end()
        other.close()
    hosts = {address[0] for address in bound if isinstance(address, tuple) and address[1] == port}
    assert hosts == {"127.0.0.1"}


def test_a_viser_that_cannot_be_guarded_is_refused(monkeypatch):
    pytest.importorskip("viser")
    monkeypatch.setattr(server, "allowed", lambda *arguments, **options: True)
    with pytest.raises(Refused, match="strangers"):
        server.start(0)


def test_nobody_is_shown_to_the_internet():
    pytest.importorskip("viser")
    running = server.start(0)
    try:
        assert running.request_share_url() is None
    finally:
        running.stop()


def test_the_first_motion_plays():
    pytest.importorskip("viser")
    shown, poses = stage()
    flame = FlameParams(*(np.stack([getattr(params(k), f.name) for k in range(3)]) for f in fields()))
    _, end = serving(shown, {"nod": viewer.Clip(flame, 100.0)}, fps=50.0)
    try:
        until(lambda: {0.0, 1.0, 2.0} <= set(poses))
    finally:
        end()


def fields():
    return dataclasses.fields(FlameParams)


def test_a_newer_avatar_and_a_live_source_are_shown():
    pytest.importorskip("viser")
    first, before = stage()
    second, after = stage()
    latencies = []

    class Live:
        def newest(self):
            return params(0.25), 7.0

        def shown(self, captured):
            latencies.append(captured)

        def status(self):
            return "live"

    class Followed:
        build = lambda self, running: None  # noqa: E731

        def newer(self):
            return second if latencies and not after else None

    _, end = serving(first, live=Live(), followed=Followed())
    try:
        until(lambda: after)
    finally:
        end()
    assert set(before) == set(after) == {0.25} and len(before) == 1  # what is shown is not drawn again
    assert set(latencies) == {7.0}


def camera(aspect=2.0, x=0.0):
    """A browser's camera one metre before the head, `x` beside it; viser's fields."""
    turned = (0.0, 1.0, 0.0, 0.0)  # half about x: looks along -z, y down
    return types.SimpleNamespace(
        wxyz=turned,
        position=(x, 0.0, 1.0),
        fov=math.radians(20),
        image_width=400 * aspect,
        image_height=400,
    )


@pytest.mark.parametrize("aspect, x", [(2.0, 0.0), (2.0, 0.1), (0.5, 0.0), (2.0, 3.0)])
def test_the_square_picture_lies_in_the_view_where_the_browser_sees_it(aspect, x):
    size = 100
    square, left, width = scene.View(camera(aspect, x)).square(size, np.zeros(3))
    assert width == size * aspect
    point = np.array([0.01, 0.02, 0.0, 1.0])
    local = np.asarray(square.world_to_camera[0]) @ point
    pixel = local[:2] / local[2] * square.focal[0] + square.center[0] + [left, 0]
    focal = 0.5 * size / math.tan(math.radians(10))
    expected = [width / 2 + focal * (0.01 - x), size / 2 - focal * 0.02]
    np.testing.assert_allclose(pixel, expected, rtol=1e-5)
    assert 0 <= left <= width - size or width < size
    whole = scene.in_view(np.zeros((size, size, 3)), left, width, np.ones(3))
    assert whole.shape == (size, width, 3) and whole.min() == 0


def test_depth_is_grey_from_near_to_far():
    grey = scene.shaded(np.array([[0.0, 0.85, 1.0, 1.15]]), 1.0, np.array([0.2, 0.3, 0.4]))
    np.testing.assert_allclose(grey[0], [[0.2, 0.3, 0.4], [1] * 3, [0.5] * 3, [0] * 3], atol=1e-6)


def test_a_recording_is_what_was_shown_when(tmp_path, monkeypatch):
    from zero1a_jax.outputs import video

    sent, now = {}, [0.0]
    client = types.SimpleNamespace(
        camera=camera(), send_file_download=lambda name, data, save_immediately: sent.update({name: data})
    )
    monkeypatch.setattr(recorder.time, "monotonic", lambda: now[0])
    keeping = recorder.Recorder(10.0)
    shown, _ = stage()
    keeping.add(shown, params(0.9))  # before it began
    keeping.start(client)
    for seconds, jaw in ((0.0, 0.0), (0.15, 1.0), (0.16, 1.0)):
        now[0] = seconds
        keeping.add(shown, params(jaw))
    now[0] = 0.5
    keeping.finish(shown, lambda text: None)
    (tmp_path / "a.mp4").write_bytes(sent["avatar.mp4"])
    frames, fps = video.read(tmp_path / "a.mp4")
    assert fps == 10 and keeping.seconds is None
    np.testing.assert_allclose(frames.mean((1, 2, 3)), [0, 0, 255, 255, 255], atol=4)


def test_without_viser_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(Refused, match="pip install viser"):
        viewer.serve(stage()[0])
