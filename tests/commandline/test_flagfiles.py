"""Flag files as editors write them, paths as people spell them."""

import os
import subprocess

import pytest

from zero1a_jax.commandline import environment, flagfiles, flags
from zero1a_jax.config import Config, from_values, to_values
from zero1a_jax.errors import Refused

TEXT = "# what it is\r\n\r\n--steps=7\r\n// more\r\n  --image=ä b.png  \r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_of_order_and_carriage_returns(tmp_path, encoding):
    (tmp_path / "a.flags").write_bytes(TEXT.encode(encoding))
    config = flags.parse(Config, [f"--flagfile={tmp_path / 'a.flags'}", "--batch=2"])
    assert (config.update.steps, config.update.batch, config.input.image) == (7, 2, "ä b.png")


def test_flag_files_in_flag_files(tmp_path):
    (tmp_path / "a.flags").write_text("--steps=7\n--batch=3\n")
    (tmp_path / "b.flags").write_text(f"--flagfile={tmp_path / 'a.flags'}\n--steps=8\n")
    config = flags.parse(Config, ["--flagfile", str(tmp_path / "b.flags")])
    assert (config.update.steps, config.update.batch) == (8, 3)
    (tmp_path / "a.flags").write_text(f"--flagfile={tmp_path / 'b.flags'}\n")
    with pytest.raises(Refused, match="names itself"):
        flags.parse(Config, ["--flagfile", str(tmp_path / "b.flags")])
    (tmp_path / "a.flags").write_bytes(b"--image=\xe9.png")
    with pytest.raises(Refused, match="not UTF-8"):
        flags.parse(Config, [f"--flagfile={tmp_path / 'a.flags'}"])


def test_home_is_meant_by_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", os.path.join(os.sep, "people", "me"))
    config = flags.parse(Config, ["--image=~/a.png", "--motions=~/b.csv,c.csv"])
    assert config.input.image == os.path.join(os.environ["HOME"], "a.png")
    assert config.input.motions == (os.path.join(os.environ["HOME"], "b.csv"), "c.csv")


def test_a_comma_in_a_name_comes_back():
    given = from_values({"motions": ("a, b.csv", 'c"d.csv', "e.csv")})
    lines = flagfiles.text(given).splitlines()[1:]
    assert flags.parse(Config, lines).input.motions == given.input.motions


def test_another_spelling_of_a_path_is_no_difference(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    old = to_values(from_values({"image": "a.png", "motions": ("b.csv",)}))
    for image in ("./a.png", "x/../a.png", str(tmp_path / "a.png"), "link/a.png"):
        assert flagfiles.differences(old, from_values({"image": image, "motions": ("./b.csv",)})) == []
    assert len(flagfiles.differences(old, from_values({"image": "c.png", "motions": ("b.csv",)}))) == 1


@pytest.mark.parametrize(
    "home, xdg, kept",
    [
        ("/h", "", "/h/.cache"),
        ("/h", None, "/h/.cache"),
        ("/h", "/c", "/c"),
        ("~", "", None),
    ],
)
def test_where_compiled_programs_are_kept(home, xdg, kept, monkeypatch):
    monkeypatch.setattr(environment.sys, "modules", {})
    monkeypatch.setattr(environment.os, "environ", {} if xdg is None else {"XDG_CACHE_HOME": xdg})
    monkeypatch.setattr(environment.os.path, "expanduser", lambda path: path.replace("~", home))
    environment.fix(host_devices=1, deterministic=False)
    found = environment.os.environ.get("JAX_COMPILATION_CACHE_DIR")
    assert found == (kept and f"{kept}/zero1a_jax/xla")


def test_an_empty_home_is_none(monkeypatch):
    """It would put the compiled programs into .cache at the root."""
    monkeypatch.setenv("HOME", "")
    assert os.path.expanduser("~/.cache") == os.path.join(os.sep, ".cache")
    environment.forget_empty_home()
    assert "HOME" not in os.environ and os.path.expanduser("~/.cache") != os.path.join(os.sep, ".cache")
    monkeypatch.setenv("HOME", os.path.join(os.sep, "people", "me"))
    environment.forget_empty_home()
    assert os.path.expanduser("~") == os.environ["HOME"]


@pytest.mark.parametrize("name", ["my photo.png", "a \"b\" $c `d` $(e) 'f' #g.png", ""])
def test_make_takes_any_name(tmp_path, name):
    shown = tmp_path / "shown"
    shown.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    shown.chmod(0o755)
    given = ["make", "-s", "quickstart", f"IMAGE={name}", f"WORKDIR={name}", "READY=", f"PY={shown}"]
    done = subprocess.run(given, cwd=flagfiles.commands().parent, capture_output=True, text=True, check=True)
    image = [f"--image={name}"] if name else []
    assert done.stdout.splitlines()[3:] == [*image, f"--workdir={name}"]
