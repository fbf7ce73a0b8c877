"""Outputs replace what we wrote and nobody changed, and nothing else; they appear whole or not at all."""

import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest

from zero1a_jax import files, lock, record
from zero1a_jax.errors import Refused


def put(folder, names=None, text="ours", **options):
    with record.writing(folder, names, **options) as unfinished:
        for name in names or ("a.txt", "b.txt"):
            (unfinished / name).write_text(text)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".")}


def test_ours_are_replaced(tmp_path):
    folder = tmp_path / "new" / "er"
    put(folder)
    put(folder, text="again")
    assert contents(folder) == {"a.txt": "again", "b.txt": "again"}
    assert sorted(path.name for path in folder.iterdir()) == [record.NAME, "a.txt", "b.txt"]


def test_strangers_and_edited_files_are_left_alone(tmp_path):
    (tmp_path / "b.txt").write_text("theirs")
    with pytest.raises(Refused, match="b.txt is not what this program wrote"):
        put(tmp_path)
    assert contents(tmp_path) == {"b.txt": "theirs"}
    put(tmp_path, ["a.txt"])  # beside a stranger, under its own name
    (tmp_path / "a.txt").write_text("edited")
    with pytest.raises(Refused, match="a.txt"):
        put(tmp_path, ["a.txt"])
    put(tmp_path, ["a.txt"], overwrite=True)
    assert contents(tmp_path) == {"a.txt": "ours", "b.txt": "theirs"}
    put(tmp_path, ["a.txt"])  # ours again


def test_links_are_strangers(tmp_path):
    (tmp_path / "a.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Refused, match="a.txt"):
        put(tmp_path, ["a.txt"])
    (tmp_path / "b.txt").write_text("ours")
    (tmp_path / "c.txt").symlink_to(tmp_path / "b.txt")
    with pytest.raises(Refused, match="c.txt"):
        put(tmp_path, ["c.txt"])


def test_files_where_folders_are_wanted_and_the_other_way_round(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Refused, match="file is a file: give a folder"):
        put(tmp_path / "file")
    with pytest.raises(Refused, match="file is a file: give a folder"):
        put(tmp_path / "file" / "folder")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(Refused, match="link is a link to nothing"):
        put(tmp_path / "link")
    with pytest.raises(Refused, match="folder is a folder: give a file"):
        put(tmp_path, ["folder"], overwrite=True)


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt(), Refused("no")])
def test_an_end_in_the_middle_leaves_nothing(tmp_path, error):
    with pytest.raises(type(error)):
        with record.writing(tmp_path / "new" / "er", ["a.txt"]) as unfinished:
            (unfinished / "a.txt").write_text("half")
            raise error
    assert list(tmp_path.iterdir()) == []


def test_a_kill_between_record_and_file_makes_no_stranger(tmp_path, monkeypatch):
    put(tmp_path)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(record.os, "replace", _after_the_record(killed))
        put(tmp_path, text="new")
    assert contents(tmp_path) == {"a.txt": "ours", "b.txt": "ours"}
    put(tmp_path, text="newer")
    assert contents(tmp_path) == {"a.txt": "newer", "b.txt": "newer"}


def _after_the_record(killed):
    replace = os.replace
    return lambda old, new: (replace if record.NAME in str(new) else killed)(old, new)


@pytest.mark.parametrize("text", ["", "[]", "{", "\0"])
def test_a_damaged_record_knows_nothing(tmp_path, text):
    put(tmp_path)
    (tmp_path / record.NAME).write_text(text)
    with pytest.raises(Refused):
        put(tmp_path)


def test_the_record_says_name_and_hash(tmp_path):
    put(tmp_path, ["a.txt"])
    known = json.loads((tmp_path / record.NAME).read_text())
    assert known == {"a.txt": [hashlib.sha256(b"ours").hexdigest()]}


HOLDER = """
import sys, time
from zero1a_jax import lock
with lock.held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_at_a_time_and_a_crash_leaves_no_lock(tmp_path):
    folder = tmp_path / "work"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(Refused, match="another process writes to"), lock.held(folder):
        raise AssertionError("two hold the lock")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with lock.held(folder):
        (folder / "result").write_text("x")
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_one_process_at_a_time_writes_a_file(tmp_path):
    with record.writing(tmp_path, ["a.txt", "b.txt"]) as unfinished:
        (unfinished / "a.txt").write_text("ours")
        (unfinished / "b.txt").write_text("ours")
        with pytest.raises(Refused, match="another process writes to .*a.txt"):
            put(tmp_path, ["a.txt", "b.txt"])
        put(tmp_path, ["c.txt"])
    assert sorted(json.loads((tmp_path / record.NAME).read_text())) == ["a.txt", "b.txt", "c.txt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_what_belongs_together(tmp_path, number):
    done, before = [], signal.signal(number, lambda *_: done.append("signal"))
    try:
        with files.unbroken():
            signal.raise_signal(number)
            signal.raise_signal(number)
            done.append("block")
        assert done == ["block", "signal"]
        signal.raise_signal(number)
        assert done == ["block", "signal", "signal"]
    finally:
        signal.signal(number, before)


def test_a_lock_leaves_no_folder_behind(tmp_path):
    with lock.held(tmp_path / "new" / "er"):
        assert (tmp_path / "new" / "er").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def none(*arguments):
        raise OSError(lock.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", none)
    with lock.held(tmp_path), lock.held(tmp_path / "other"):
        assert (tmp_path / "other").is_dir()
