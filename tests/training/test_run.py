"""The command line: one clear sentence, quickly, and nothing written."""

import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from zero1a_jax.commandline.flags import parse, read
from zero1a_jax.config import Config, from_values
from zero1a_jax.errors import Refused
from zero1a_jax.training import checks, workdir


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(folder / "good.png")
    data = (folder / "good.png").read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 2])
    (folder / "text.png").write_text("not a picture")
    return folder


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--image=missing.png"], "There is no picture at missing.png"),
        (["--image=text.png"], "is not a picture that can be read"),
        (["--image=cut.png"], "is damaged or incomplete"),
        (["--image=synthetic:x"], "must be a number"),
        (["--image=good.png", "--stepz=3"], "Unknown command line flag 'stepz'"),
        (["--image=good.png", "--steps=many"], "--steps=many"),
        (["--image=good.png", "stray"], "Stray argument 'stray'"),
        (["--image=good.png", "--motions=none.csv"], "There is no motion at none.csv"),
        (["--image=good.png", "--flagfile=none.flags"], "none.flags"),
        (["--image=good.png", "--flame=nowhere"], "The FLAME folder nowhere does not exist"),
        (["--image=good.png", "--assets=nowhere"], "The assets folder nowhere does not exist"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
def test_input_errors(arguments, sentence, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(pictures)
    work = tmp_path / "work"
    try:
        (found,) = checks.problems(read(Config, [*arguments, f"--workdir={work}"]))
    except Refused as error:
        found = str(error)
    assert sentence in found and not work.exists()


def test_all_errors_come_together_and_quickly(pictures):
    begin = time.monotonic()
    line = [
        sys.executable,
        "-m",
        "zero1a_jax",
        "run",
        "--image=missing.png",
        "--steps=0",
        "--background=pink",
    ]
    done = subprocess.run(line, cwd=pictures, capture_output=True, text=True, timeout=60)
    errors = done.stderr.splitlines()
    assert done.returncode == 2 and len(errors) == 4  # and --workdir is missing
    assert all(error.startswith("error: ") for error in errors)
    assert time.monotonic() - begin < 20  # a second on a free machine


def config_in(folder, image, **changes):
    return from_values({"image": str(image), "workdir": str(folder)} | changes)


@pytest.fixture
def started(pictures, tmp_path):
    config = config_in(tmp_path / "work", pictures / "good.png")
    workdir.create(config, workdir.describe(config, ["cpu"], {}), portrait=b"p")
    return config


def test_work_folder(started, pictures):
    folder = workdir.Path(started.runner.workdir)
    for name in (*workdir.FOLDERS, "flags.flagfile", "config.json", "environment.json", "portrait.npz"):
        assert (folder / name).exists(), name
    assert checks.problems(started) == []


def test_changed_flags_stop_and_show_the_difference(started, pictures):
    changed = config_in(started.runner.workdir, pictures / "good.png", steps=7, batch=2)
    found = checks.problems(changed)
    assert len(found) == 1
    assert "--steps: was 10000, now 7" in found[0] and "--batch: was 4, now 2" in found[0]


def test_flags_that_decide_nothing_may_change(started, pictures):
    again = config_in(started.runner.workdir, pictures / "good.png", log_every=3, keep=5)
    assert checks.problems(again) == []


def test_a_caption_is_a_flag_as_others(pictures, tmp_path):
    config = config_in(tmp_path / "work", pictures / "good.png", caption="a woman with red hair, 50% grey")
    workdir.create(config, workdir.describe(config, ["cpu"], {}), portrait=b"p")
    again = parse(Config, [f"--flagfile={tmp_path / 'work' / 'flags.flagfile'}"])
    assert again == config and checks.problems(again) == []
    (found,) = checks.problems(config_in(tmp_path / "work", pictures / "good.png", caption="a man"))
    assert "--caption: was a woman with red hair, 50% grey, now a man" in found
    spaces = config_in(tmp_path / "work", pictures / "good.png", caption=config.input.caption + " ")
    assert checks.problems(spaces) == []
    lines = config_in(tmp_path / "new", pictures / "good.png", caption="a man\n--steps=3")
    assert checks.problems(lines) == ["--caption must be one line of text."]


def test_changed_picture_stops(started, pictures, tmp_path):
    folder = workdir.Path(started.runner.workdir)
    text = (folder / "environment.json").read_text().replace(workdir.digest(pictures / "good.png"), "0" * 64)
    (folder / "environment.json").write_text(text)
    assert "has changed since the run" in checks.problems(started)[0]


def test_a_removed_picture_does_not_matter(pictures, tmp_path):
    """The run has its own portrait."""
    picture = tmp_path / "gone.png"
    picture.write_bytes((pictures / "good.png").read_bytes())
    config = config_in(tmp_path / "work", picture)
    workdir.create(config, workdir.describe(config, ["cpu"], {}), portrait=b"p")
    picture.unlink()
    assert checks.problems(config) == []


def test_a_new_disk_and_a_dangling_link(pictures, tmp_path):
    (tmp_path / "lost+found").mkdir()
    assert checks.problems(config_in(tmp_path, pictures / "good.png")) == []
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (found,) = checks.problems(config_in(tmp_path / "link", pictures / "good.png"))
    assert "is a link to nothing" in found
    (tmp_path / "file").write_text("")
    (found,) = checks.problems(config_in(tmp_path / "file" / "w", pictures / "good.png"))
    assert "file is a file: give a folder" in found
    changes = {"diffusion": str(tmp_path / "file")}
    (found,) = checks.problems(config_in(tmp_path / "w", pictures / "good.png", **changes))
    assert "is a file: --diffusion needs the folder" in found


def test_a_comma_in_the_name_of_a_motion(pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a, b.csv").write_text("")
    config = config_in(tmp_path / "w", pictures / "good.png", motions=("a", "b.csv"))
    assert "write --motions='\"a, b.csv\"'" in checks.problems(config)[0]


def test_the_revision_is_that_of_this_tree(tmp_path, monkeypatch):
    """A copy that is installed into somebody's repository has none."""
    for arguments in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "theirs"],
    ):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    monkeypatch.setattr(workdir, "__file__", str(tmp_path / "workdir.py"))
    assert workdir._revision() is None


def test_foreign_folder_is_left_alone(pictures, tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"precious")
    found = checks.problems(config_in(tmp_path, pictures / "good.png"))
    assert len(found) == 1 and "holds other files (holiday.jpg)" in found[0]


def test_killed_start_is_no_stranger(pictures, tmp_path):
    for name in (*workdir.FOLDERS, "portrait.npz", "flags.flagfile", ".config.json.part"):
        (tmp_path / name).mkdir()
    assert checks.problems(config_in(tmp_path, pictures / "good.png")) == []


def test_a_run_without_its_description_is_not_resumed(started, pictures):
    folder = workdir.Path(started.runner.workdir)
    (folder / "checkpoints" / "00000500").mkdir()
    (folder / "config.json").unlink()
    found = checks.problems(started)
    assert len(found) == 1 and "holds checkpoints/ of a run but no config.json" in found[0]


def test_full_disk(pictures, tmp_path, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage(1, 1, 2**20))
    found = checks.problems(config_in(tmp_path / "w", pictures / "good.png"))
    assert len(found) == 1 and "has 1 MiB free" in found[0]
