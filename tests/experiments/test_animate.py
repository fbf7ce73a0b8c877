"""The command that animates: a folder of motions makes a video of each, and one that fails stops no other."""

import types

import pytest

from experiments import animate
from zero1a_jax.errors import Refused
from zero1a_jax.showing import animation
from zero1a_jax.sources import avatars


@pytest.fixture
def written(monkeypatch):
    calls = []

    def write(loaded, motion, out, **options):
        if "broken" in motion:
            raise Refused("no motion at all")
        calls.append((motion, out))
        return 7

    monkeypatch.setattr(avatars, "load", lambda *rest: types.SimpleNamespace())
    monkeypatch.setattr(animation, "write", write)
    return calls


def test_a_folder_of_motions(tmp_path, written, capsys):
    takes = tmp_path / "takes"
    takes.mkdir()
    for name in ("b.csv", "a.csv", "a.npz", "broken.csv", "notes.txt"):
        (takes / name).write_text("")
    out = tmp_path / "videos"
    code = animate.main(animate.Options(avatar="x", motion=str(takes), out=str(out)))
    assert code == 1
    made = {motion.rsplit("/")[-1]: video.rsplit("/")[-1] for motion, video in written}
    assert made == {"a.csv": "a.csv.mp4", "a.npz": "a.npz.mp4", "b.csv": "b.mp4"}
    said = capsys.readouterr()
    assert "broken.csv: no motion at all" in said.err and "1 of 4 motions were left out" in said.err
    (takes / "broken.csv").unlink()
    clear = animate.Options(avatar="x", motion=str(takes), out=str(out), background="transparent")
    assert animate.main(clear) == 0
    assert written[-1][1].endswith(".webm")
    with pytest.raises(Refused, match="give a folder as --out as well"):
        animate.main(animate.Options(avatar="x", motion=str(takes), out=str(tmp_path / "one.mp4")))
