"""What drives an avatar live: the newest frame wins, latency is told, trouble is told."""

import contextlib
import threading
import time
import types

import numpy as np

from zero1a_jax.errors import Refused
from zero1a_jax.showing import live


class Camera:
    """Frames, each of the shade of its number, as fast as `pause` lets them."""

    def __init__(self, count, pause):
        self.count, self.pause, self.given = count, pause, 0

    def __iter__(self):
        for number in range(1, self.count + 1):
            self.given = number
            yield np.full((64, 64, 3), number, np.uint8)
            time.sleep(self.pause)


def looking(slow=0.0, seen=None):
    """A landmarker that finds a face in every frame, whose jaw is as open as the frame is bright."""

    def look(picture, box):
        time.sleep(slow)
        shade = int(picture[0, 0, 0])
        if seen is not None:
            seen.append(shade)
        points = np.array([[20.0, 20], [40, 20], [30, 40]])
        face = types.SimpleNamespace(
            points=points, rotation=np.eye(3), scores={"jawOpen": shade / 255}, others=()
        )
        return [face]

    return lambda: contextlib.nullcontext(look)


def simple(monkeypatch):
    """Without following: the face of each frame."""

    def follow(film, look):
        for seconds, picture in film:
            faces = look(picture, None)
            yield types.SimpleNamespace(seconds=seconds, face=faces[0], shot=0)

    monkeypatch.setattr(live.follow, "follow", follow)


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_newest_frame_wins_and_latency_is_that_of_the_work(monkeypatch):
    simple(monkeypatch)
    seen, camera = [], Camera(200, 0.005)
    driver = live.Driver(camera, looking(slow=0.05, seen=seen), lambda weights: weights)
    assert driver.status() == "waiting for a face"
    shown = set()
    with driver:
        while camera.given < 200:
            pose = driver.newest()
            if pose is not None and pose[1] not in shown:
                shown.add(pose[1])
                driver.shown(pose[1])
            time.sleep(0.001)
    assert seen == sorted(set(seen)) and 5 < len(seen) < 60  # of 200, in order
    assert 0.05 <= driver.latency < 0.2  # of one frame, not of a queue
    assert "ms from capture to sending" in driver.status()
    assert not any(thread.is_alive() for thread in driver._threads)


def test_weights_and_turns_reach_the_head(monkeypatch):
    simple(monkeypatch)
    with live.Driver(Camera(30, 0.01), looking(), lambda weights: weights) as driver:
        until(driver.newest)
        assert set(driver.newest()[0]) == {"jawOpen", *live.TURNS}
        driver.calibrate()


def test_trouble_is_told_and_ends_nothing(monkeypatch):
    simple(monkeypatch)

    def broken():
        yield np.zeros((8, 8, 3), np.uint8)
        raise Refused("the camera stopped")

    with live.Driver(broken(), looking(), lambda weights: weights) as driver:
        until(lambda: driver.status() == "the camera stopped")
    assert threading.active_count() < 50
