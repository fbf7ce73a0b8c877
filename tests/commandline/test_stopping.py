"""Signals, full disks and terminals without letters end in a sentence; a bug keeps its traceback."""

import os
import signal
import subprocess
import sys
import time

import pytest

COMMAND = """
import dataclasses, hashlib, resource, sys, time
from zero1a_jax import record
from zero1a_jax.commandline import command
from zero1a_jax.config import option

@dataclasses.dataclass(frozen=True)
class Options:
    how: str = option("wait", "what happens")
    out: str = option("", "a folder")

class Destroyed:
    def __del__(self):
        time.sleep(1)

def main(options):
    if options.how == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    with record.writing(options.out, ["a"]) as unfinished:
        with open(unfinished / "a", "wb") as file:
            file.write(b"0" * 900)
            file.flush()
            print("begun \\u00e9\\u4f60", flush=True)
            if options.how == "bug":
                raise ZeroDivisionError("on purpose")
            if options.how == "busy":  # in one long call of C, as a compilation is
                hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)
            if options.how == "swallow":
                Destroyed()
            if options.how == "import":
                import imported_slowly
            if options.how in ("wait", "swallow", "import"):
                time.sleep(60)
            file.write(b"0" * 900)
            file.flush()

command.run(Options, main, "text")
"""


def start(tmp_path, how, **environment):
    command = [sys.executable, "-c", COMMAND, f"--how={how}", f"--out={tmp_path / 'out'}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=os.environ | environment, **pipes)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_sentence(tmp_path, number):
    process = start(tmp_path, "wait")
    process.stdout.readline()
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert text.decode() == f"error: stopped by {number.name} before it was done: the same command does it\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how, says", [("swallow", b""), ("import", b"imported\n")])
def test_a_signal_is_not_lost(tmp_path, how, says):
    """In a destructor, out of which nothing can be raised; and in an import, which goes on to its end."""
    (tmp_path / "imported_slowly.py").write_text(
        "import time\ntry:\n    time.sleep(1)\nfinally:\n    print('imported', flush=True)\n"
    )
    process = start(tmp_path, how, PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, text = process.communicate(timeout=60)
    assert process.returncode == 130 and out == says
    assert text.decode() == "error: stopped by SIGINT before it was done: the same command does it\n"
    assert not (tmp_path / "out").exists()


def test_a_second_signal_ends_it_at_once(tmp_path):
    process = start(tmp_path, "busy")
    process.stdout.readline()
    begin = time.monotonic()
    for _ in range(2):
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143 and time.monotonic() - begin < 10
    process.communicate()


def test_a_full_disk_is_a_sentence(tmp_path):
    process = start(tmp_path, "full")
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1 and text.decode() == "error: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_a_bug_keeps_its_traceback(tmp_path):
    process = start(tmp_path, "bug")
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" in text.decode() and "on purpose" in text.decode()
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_without_letters(tmp_path):
    process = start(tmp_path, "go", LC_ALL="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    out, text = process.communicate(timeout=60)
    assert process.returncode == 0, text
    assert out == b"begun \\xe9\\u4f60\n"
