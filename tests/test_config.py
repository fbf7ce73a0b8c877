"""Flags and configuration: every option is a flag, every flag names its source, nothing slips through."""

import dataclasses
import re

import pytest

from zero1a_jax.commandline import flagfiles
from zero1a_jax.commandline.flags import parse
from zero1a_jax.config import Config, colour, from_values, options, to_values
from zero1a_jax.errors import Refused
from zero1a_jax.training.checks import value_problems as problems


def parsed(*arguments):
    return parse(Config, arguments)


def valid(**changes):
    return from_values({"image": "a.png", "workdir": "w"} | changes)


def test_defaults_of_flags_and_dataclasses_agree():
    assert parsed() == Config()


def test_names_are_unique_and_helps_name_their_source():
    names = [field.name for field in options()]
    assert len(names) == len(set(names)) > 50
    method = {
        f.name
        for group in (Config().curriculum, Config().refresh, Config().update, Config().density)
        for f in dataclasses.fields(group)
    }
    plain = {"method", "rasterizer", "progressive", "spatial", "temporal", "inversion"}
    for field in options():
        if field.name in method - plain:
            assert re.search(r"\[[PSCD]\]", field.metadata["help"]), field.name


def test_numbers_of_the_method():
    config = Config()
    assert (config.curriculum.spatial_samples, config.curriculum.synthetic_samples) == (20, 10)
    assert (config.curriculum.synthetic_start, config.curriculum.real_start) == (5000, 8000)
    assert (config.curriculum.frames, config.curriculum.view_interval) == (16, 300)
    o = config.update
    assert (o.l1_weight, o.perceptual_weight, o.position_weight, o.scale_weight) == (10, 10, 0.1, 10)
    assert (o.position_lr, o.position_lr_end, o.colour_lr) == (5e-3, 5e-5, 2.5e-3)
    assert (o.opacity_lr, o.scale_lr, o.rotation_lr, o.steps) == (0.05, 1.7e-2, 1e-3, 10_000)
    assert config.refresh.update_every == 30


def test_flag_file_starts_the_same_run(tmp_path):
    given = ("--image=a b.png", "--workdir=w", "--nospatial", "--motions=x.csv,y.npz", "--strength=0.35")
    config = parsed(*given)
    path = tmp_path / "flags.flagfile"
    path.write_text(flagfiles.text(config))
    assert parsed(f"--flagfile={path}") == config
    assert config.input.motions == ("x.csv", "y.npz") and config.curriculum.spatial is False


@pytest.mark.parametrize("name", ["best", "pod", "quickstart", "zero1a", "zero1a_512"])
def test_shipped_flag_files(name):
    path = flagfiles.find(f"{name}.flags")
    config = parsed(f"--flagfile={path}", "--workdir=w", "--image=synthetic:1")
    assert problems(config) == []
    head = path.read_text().split("\n--")[0]
    for word in ("Reproduces:", "Device:", "Expected:", "Command:"):
        assert word in head


def test_the_papers_flag_file_changes_no_default_of_the_method():
    assert parsed("--flagfile=zero1a.flags") == Config()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 0}, "--steps=0 must be at least 1."),
        ({"strength": 1.5}, "--strength=1.5 must be at most 1."),
        ({"strength": float("nan")}, "--strength=nan must be a number."),
        ({"image": ""}, "--image is missing"),
        ({"workdir": ""}, "--workdir is missing"),
        ({"background": "pink"}, "--background=pink is no colour"),
        ({"guidance": 1.0}, "--guidance equals --inversion_guidance"),
        ({"real_start": 10}, "--real_start must not come before --synthetic_start."),
        ({"prior_share": 0.5}, "--prior_share needs --texture_prior."),
        ({"profile_steps": "9:3"}, "--profile_steps must be two step numbers"),
        ({"method": "sds", "split_frames": True}, "--split_frames divides"),
        ({"method": "diffusion_only", "split_frames": True}, "--split_frames divides"),
        ({"method": "ism", "dry_run": True}, "--dry_run does not count"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_problems(changes, sentence):
    found = problems(valid(**changes))
    assert len(found) == 1 and found[0].startswith(sentence)


def test_problems_come_together():
    assert len(problems(from_values({"steps": 0, "batch": -1}))) == 4
    assert problems(valid()) == []


def test_differences():
    old = to_values(valid())
    assert flagfiles.differences(old, valid(log_every=7, workdir="elsewhere")) == []
    assert flagfiles.differences(old, valid(steps=7)) == ["--steps: was 10000, now 7"]
    import json

    stored = json.loads(json.dumps(to_values(valid(motions=("a.csv",)))))
    assert flagfiles.differences(stored, valid(motions=("a.csv",))) == []


def test_colour():
    assert colour("white") == (1.0, 1.0, 1.0)
    assert colour("#ff8000") == (1.0, 128 / 255, 0.0)
    for text in ("#ff80", "0,0,0", "mauve", ""):
        with pytest.raises(Refused, match="white, black or #rrggbb"):
            colour(text)


def test_unknown_option():
    with pytest.raises(ValueError, match="unknown option stepz"):
        from_values({"stepz": 3})
