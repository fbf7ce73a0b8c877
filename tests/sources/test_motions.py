"""One door for motion files."""

import numpy as np
import pytest

from zero1a_jax import drive
from zero1a_jax.converters import flame_npz
from zero1a_jax.errors import Refused
from zero1a_jax.retargeting import Retargeting
from zero1a_jax.sources import motions
from zero1a_jax.types import FlameParams, Motion


def test_one_door(tmp_path, tiny):
    rows = {"shape": 5, "expression": 4, "rotation": 3, "neck": 3, "jaw": 3, "translation": 3}
    values = {name: np.full((9, width), 0.1, np.float32) for name, width in rows.items()}
    flame = FlameParams(**values, eyes=np.zeros((9, 2, 3), np.float32))
    motion = Motion(flame, None, 30.0, "tiny")
    flame_npz.save(tmp_path / "a.npz", motion)
    out = motions.load(tmp_path / "a.npz", tiny(), shape=np.zeros(2), root="drop")
    assert out.fps == 30 and not out.flame.shape.any() and out.flame.jaw.any()
    (tmp_path / "a.csv").write_text("Timecode,JawOpen\n00:00:00:00.0,0.5\n")
    out = motions.load(tmp_path / "a.csv", tiny())
    np.testing.assert_allclose(out.flame.expression, [[0, 0.5, 0, 0]])
    (tmp_path / "a.bvh").write_text("HIERARCHY")
    with pytest.raises(Refused, match="convert"):
        motions.load(tmp_path / "a.bvh", tiny())
    with pytest.raises(FileNotFoundError):
        motions.load(tmp_path / "none.csv", tiny())


def livelink_rows(rate, rows=180):
    """jawOpen is 0.5 + 0.35 sin of pi times the seconds, so it crosses 0.85, 0.5 and 0.15 at half seconds."""
    lines = ["Timecode,BlendShapeCount,EyeBlinkLeft,JawOpen"]
    for i in range(rows):
        jaw = 0.5 + 0.35 * np.sin(np.pi * i / rate)
        lines.append(f"10:00:{i // rate:02d}:{i % rate:02d}.000,61,0,{jaw:.6f}")
    return lines


@pytest.mark.parametrize("rate", [24, 25, 30, 60])
@pytest.mark.parametrize("lost", [False, True])
def test_a_take_plays_at_its_own_rate(rate, lost, tmp_path, tiny, capsys):
    lines = livelink_rows(rate)
    if lost:
        lines[10] = lines[10].split(",")[0] + ",0"
        del lines[21:23]  # dropped
    (tmp_path / "a.csv").write_text("\n".join(lines))
    motion = motions.load(tmp_path / "a.csv", tiny(), root="drop")
    assert motion.fps == rate and len(motion.flame.jaw) == 180
    shown = drive.resample(motion, 25.0).flame.expression[:, 1]
    assert len(shown) == int(179 / rate * 25 + 1e-6) + 1
    np.testing.assert_allclose(shown, 0.5 + 0.35 * np.sin(np.pi * np.arange(len(shown)) / 25), atol=0.01)
    said = capsys.readouterr().out
    notes = [line for line in said.splitlines() if "of a take at 25" not in line]
    assert notes == (["note: a.csv: 1 of 178 rows without a face were bridged."] if lost else [])
    assert ("of a take at 25" in said) == (rate == 24)  # where it cannot tell the two
    wrong = motions.load(tmp_path / "a.csv", tiny(), fps=60.0)  # what the user says wins
    assert wrong.fps == 60


def test_every_kind_has_its_door(tmp_path, tiny, capsys):
    scores = "timestamp_ms,jawOpen\n" + "".join(f"{40 * i},{i / 100}\n" for i in range(9))
    for name in ("a.csv", "a.TSV", "a.txt"):
        (tmp_path / name).write_text(scores.replace(",", "\t") if name == "a.TSV" else scores)
    (tmp_path / "a.json").write_text(
        str([{"timestamp_ms": 40 * i, "jawOpen": i / 100} for i in range(9)]).replace("'", '"')
    )
    for name in ("a.csv", "a.TSV", "a.txt", "a.json"):
        motion = motions.load(tmp_path / name, tiny())
        assert motion.fps == 25 and motion.notes == ()
        np.testing.assert_allclose(motion.flame.expression[:, 1], np.arange(9) / 100, atol=1e-6)
    head = tiny(names=(), version="flame2020")
    sequence = dict(
        shape=np.ones((4, 3)), exp=np.ones((4, 5)), pose=np.full((4, 6), 0.1), cam=np.ones((4, 3))
    )
    np.savez(tmp_path / "deca.npz", **sequence)
    capsys.readouterr()
    motion = motions.load(tmp_path / "deca.npz", head, shape=np.zeros(2), root="drop")
    assert motion.flame.jaw.all() and not motion.flame.rotation.any() and motion.fps == 25
    assert capsys.readouterr().out.startswith(
        "note: deca.npz: neck and translation and eyes are not in the file"
    )
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    with pytest.raises(Refused, match="none of its columns is one of ARKit's"):
        motions.load(tmp_path / "b.csv", tiny())


def test_a_folder_is_one_motion_or_several(tmp_path):
    one = dict(exp=np.ones((1, 5)), pose=np.full((1, 6), 0.1), shape=np.ones((1, 3)))
    whole = {name: np.repeat(values, 4, 0) for name, values in one.items()}
    frames, takes = tmp_path / "frames", tmp_path / "takes"
    for folder in (frames, takes, takes / "export" / "flame_param", tmp_path / "empty"):
        folder.mkdir(parents=True)
    for k in range(3):
        np.savez(frames / f"{k}.npz", **one)
        np.savez(takes / "export" / "flame_param" / f"{k}.npz", **one)
    np.savez(takes / "take2.npz", **whole)
    np.savez(takes / "take10.npz", **whole)
    for name in ("talk.csv", "me.MOV", "notes.txt", "picture.png", ".hidden.csv"):
        (takes / name).write_text("")
    assert motions.within(frames) == [] and motions.within(takes / "export") == []
    assert motions.within(takes / "talk.csv") == []
    found = [path.name for path in motions.within(takes)]
    assert sorted(found) == sorted(["export", "me.MOV", "take2.npz", "take10.npz", "talk.csv"])
    assert found.index("take2.npz") < found.index("take10.npz")
    with pytest.raises(Refused, match="holds no motion"):
        motions.within(tmp_path / "empty")


def test_how_a_motion_is_taken_over(tmp_path, tiny):
    rows = "".join(f"{40 * i},{0.15 + 0.05 * (i % 5)},0.5,0.2\n" for i in range(50))
    (tmp_path / "a.csv").write_text("timestamp_ms,jawOpen,eyeBlinkLeft,mouthSmileLeft\n" + rows)
    plain = motions.load(tmp_path / "a.csv", tiny()).flame.expression
    found = motions.load(tmp_path / "a.csv", tiny(), how=Retargeting(calibrate="range")).flame.expression
    assert plain[:, 1].max() < 0.36 and plain[:, 1].min() > 0.14
    assert found[:, 1].min() == 0 and found[:, 1].max() > 0.6
    lips = motions.load(tmp_path / "a.csv", tiny(), how=Retargeting(region="mouth", strength=0.5))
    np.testing.assert_allclose(lips.flame.expression[:, 1], 0.5 * plain[:, 1], atol=1e-6)
    assert not lips.flame.expression[:, 0].any()
