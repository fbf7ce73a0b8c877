"""The viewer: what it sends, and that it answers on this machine only."""

import dataclasses
import re
import socket
import sys
import threading
import urllib.request

import numpy as np
import pytest

from zero1a_jax.errors import Refused
from zero1a_jax.outputs import viewer
from zero1a_jax.types import FlameParams, Gaussians


def gaussians():
    return Gaussians(
        means=np.array([[0.0, 0, 0], [0.1, 0, 0]]),
        log_scales=np.log(np.array([[0.01, 0.02, 0.03], [0.01, 0.02, 0.03]])),
        quats=np.array([[2.0, 0, 0, 0], [1, 0, 0, 1]]),  # unrotated, and a quarter turn about z
        sh=np.zeros((2, 1, 3)),
        opacity_logits=np.array([0.0, -30]),
    )


def params():
    z = np.zeros(3, np.float32)
    return FlameParams(
        np.zeros(4, np.float32), np.zeros(5, np.float32), z, z, z, np.zeros((2, 3), np.float32), z
    )


def test_splats():
    sent = viewer.splats(gaussians())
    np.testing.assert_allclose(sent["covariances"][0], np.diag([1e-4, 4e-4, 9e-4]), atol=1e-9)
    np.testing.assert_allclose(sent["covariances"][1], np.diag([4e-4, 1e-4, 9e-4]), atol=1e-9)
    np.testing.assert_allclose(sent["rgbs"], 0.5)
    np.testing.assert_allclose(sent["opacities"][:, 0], [0.5, 0], atol=1e-9)


def test_sliders_add_to_the_start():
    start = dataclasses.replace(params(), jaw=np.array([0.1, 0, 0], np.float32))
    moved = viewer.from_sliders(start, [0.5, 1], {"jaw": 0.2, "nod": 0.3, "turn": -0.4})
    np.testing.assert_allclose(moved.expression, [0.5, 1, 0, 0, 0])
    np.testing.assert_allclose(moved.jaw, [0.3, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(moved.neck, [0.3, -0.4, 0], rtol=1e-6)
    assert start.expression.max() == 0


def test_serves_on_this_machine_only_and_says_which_port_it_took(capsys):
    pytest.importorskip("viser")
    other = socket.socket()  # another program on the port that was asked for
    other.bind(("127.0.0.1", 0))
    other.listen()
    asked = other.getsockname()[1]
    stop, drawn = threading.Event(), threading.Event()
    bound = []

    def pose(now):
        drawn.set()
        return gaussians()

    original = socket.socket.bind

    def bind(self, address):
        bound.append(address)
        return original(self, address)

    socket.socket.bind = bind
    try:
        thread = threading.Thread(
            target=viewer.serve, args=(pose, params()), kwargs={"port": asked, "stop": stop}
        )
        thread.start()
        assert drawn.wait(30)
        port = int(re.search(r"open http://127.0.0.1:(\d+) ", capsys.readouterr().out)[1])
        assert port != asked
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=10).read()
        assert b"<html" in page.lower()
    finally:
        socket.socket.bind = original
        other.close()
        stop.set()
        thread.join(30)
    hosts = {address[0] for address in bound if isinstance(address, tuple) and address[1] == port}
    assert hosts == {"127.0.0.1"}
    assert not thread.is_alive()


def test_without_viser_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(Refused, match="pip install viser"):
        viewer.serve(lambda now: gaussians(), params())
