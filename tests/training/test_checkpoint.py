"""Checkpoints: what comes back is what was saved, or another one, or a loud error."""

import shutil

import numpy as np
import pytest

from zero1a_jax.training import checkpoint, signals


def tree(value):
    return {
        "counters": np.array([value, 2], np.int64),
        "state": {"means": np.full((3, 2), value, np.float32), "alive": np.array([True, False, True])},
        "rgb": np.full((2, 4, 4, 3), value, np.uint8),
        "step": np.int32(value),
    }


def same(a, b):
    import jax

    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    for step in (10, 20, 30, 40):
        checkpoint.save(folder, step, tree(step), keep=3)
    return folder


@pytest.fixture
def folder(three, tmp_path):
    copy = tmp_path / "checkpoints"
    shutil.copytree(three, copy)
    return copy


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def largest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def test_keeps_the_newest_and_restores_them(folder):
    assert checkpoint.steps(folder) == [20, 30, 40]
    step, found, skipped = checkpoint.restore(folder, tree(0))
    assert step == 40 and skipped == []
    same(found, tree(40))


def test_nothing_there_is_no_checkpoint(tmp_path):
    assert checkpoint.restore(tmp_path / "none", tree(0)) is None


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest", "no manifest"])
def test_a_damaged_one_is_skipped_by_name(folder, damage):
    newest = folder / "00000040"
    victim = largest(newest / "arrays")
    if damage == "flip":
        flip(victim)
    elif damage == "truncate":
        victim.write_bytes(victim.read_bytes()[:-5])
    elif damage == "remove":
        victim.unlink()
    elif damage == "manifest":
        (newest / "manifest.json").write_text("[1, 2]")
    else:
        (newest / "manifest.json").unlink()
    step, found, skipped = checkpoint.restore(folder, tree(0))
    assert step == 30 and len(skipped) == 1 and skipped[0].startswith("checkpoint 40 skipped: ")
    same(found, tree(30))


def test_any_flipped_byte_is_seen(folder):
    for path in sorted(p for p in (folder / "00000040").rglob("*") if p.is_file() and p.stat().st_size):
        data = path.read_bytes()
        flip(path)
        step, found, _ = checkpoint.restore(folder, tree(0))
        if step == 40:  # white space of the manifest
            same(found, tree(40))
        else:
            assert step == 30
        path.write_bytes(data)


def test_fails_loudly_when_none_is_left(folder):
    for step in checkpoint.steps(folder):
        flip(largest(folder / f"{step:08d}" / "arrays"))
    with pytest.raises(ValueError, match="none of the 3 checkpoints"):
        checkpoint.restore(folder, tree(0))


def test_leftovers_are_cleaned_and_never_restored(folder):
    (folder / ".saving-50" / "arrays").mkdir(parents=True)
    (folder / ".deleting-00000010").mkdir()
    assert checkpoint.restore(folder, tree(0))[0] == 40
    checkpoint.save(folder, 50, tree(50))
    assert sorted(p.name for p in folder.iterdir()) == ["00000040", "00000050"]


def test_another_shape_is_refused(folder):
    other = tree(0)
    other["rgb"] = np.zeros((3, 4, 4, 3), np.uint8)
    message = r"rgb is uint8\[2, 4, 4, 3\] but this configuration has uint8\[3, 4, 4, 3\]"
    with pytest.raises(ValueError, match=message):
        checkpoint.restore(folder, other)
    with pytest.raises(ValueError, match="differs in extra"):
        checkpoint.restore(folder, tree(0) | {"extra": np.zeros(1)})


def test_full_disk_is_said_before_anything_is_written(folder, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda _: usage(1, 1, 100))
    with pytest.raises(OSError, match="make room"):
        checkpoint.save(folder, 50, tree(50))
    assert checkpoint.steps(folder) == [20, 30, 40]


def test_termination_notes_the_signal():
    import os
    import signal

    before = signal.getsignal(signal.SIGTERM)
    with signals.termination() as received:
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before
