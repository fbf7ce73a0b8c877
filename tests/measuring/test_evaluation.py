"""Evaluation: right about a perfect and a wrong avatar, and resumable."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax import synthetic
from zero1a_jax.errors import Refused
from zero1a_jax.flame import procedural_head
from zero1a_jax.measuring import evaluation, heldout
from zero1a_jax.sources import avatars, synthetic_portrait

SEED = 7
MORE = dict.fromkeys((*evaluation.METRICS, "strength"), 0.5)


def shape_of(seed):
    return np.random.default_rng(seed).normal(size=np.shape(procedural_head().shape_basis)[2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, exported):
    """The export of a grey avatar that has the true shape of identity SEED."""
    faces = len(procedural_head().faces)
    return exported(tmp_path_factory.mktemp("run"), shape_of(SEED), np.zeros((faces, 1, 3)))


class Seen(Exception):
    """Carries what a fake was called with."""


def test_the_person_is_the_one_that_runs_show(monkeypatch):
    def identity(key):
        raise Seen(jax.random.key_data(key).tolist())

    monkeypatch.setattr(synthetic, "identity", identity)
    with jax.disable_jit(), pytest.raises(Seen) as shown:
        synthetic_portrait.picture(SEED)
    with jax.disable_jit(), pytest.raises(Seen) as measured:
        synthetic_portrait.person(SEED)
    assert shown.value.args == measured.value.args


def test_compare_scores_a_known_truth(folder, monkeypatch):
    """A flat picture of the avatar's own grey scores high, another -20 log10 of the difference."""
    calls = []

    def render(model, look, params, camera, *, supersample):
        calls.append((params, camera))
        value = jnp.where(camera.world_to_camera[0, 0] < 0.95, 0.5, 0.25)  # beyond 18 degrees of yaw
        y, x = jnp.mgrid[0:32, 0:32] - 15.5
        return jnp.full((32, 32, 3), value), (x**2 + y**2 < 30).astype(jnp.float32)

    monkeypatch.setattr(evaluation.synthetic, "render", render)
    monkeypatch.setattr(evaluation, "person", lambda seed: (jnp.asarray(shape_of(seed), jnp.float32), None))
    loaded = avatars.load(folder)
    rows = list(evaluation.compare(evaluation.of_avatar(loaded), SEED, [0, 3], size=32, supersample=1))
    yaw = heldout.pairs(loaded.model).yaw
    assert [row["pair"] for row in rows] == [0, 3]
    np.testing.assert_allclose([row["yaw"] for row in rows], yaw[[0, 3]], atol=1e-3)
    assert 0 < rows[0]["strength"] < 0.1
    assert rows[1]["psnr"] > 35 and abs(rows[0]["psnr"] + 20 * np.log10(0.25)) < 0.3
    assert max(row["landmark_error"] for row in rows) < 1e-5  # the avatar has the true shape
    (other,) = evaluation.compare(evaluation.of_avatar(loaded), SEED + 1, [0], size=32, supersample=1)
    assert other["landmark_error"] > 0.005
    assert len(calls) <= 2  # traced once a person, not once a pair


@pytest.mark.slow
def test_the_real_truth_is_no_grey_head(folder):
    """The real renderer and the real identities: a grey head of another shape is far off, but not absurd."""
    (row,) = evaluation.compare(evaluation.of_avatar(avatars.load(folder)), SEED, [3], size=64, supersample=2)
    assert 3 < row["psnr"] < 25 and -1 < row["ssim"] < 0.9


def fake_compare(seen):
    def compare(loaded, seed, chosen, *, size, supersample, judges):
        for k in chosen:
            seen.append(k)
            judged = {name: value for judge in judges for name, value in judge(None, None, None).items()}
            yield {**MORE, "pair": k, "yaw": 10.0 * k, "pitch": 0.0, "psnr": 20.0 + k, **judged}

    return compare


def test_resumes_pair_by_pair(folder, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(evaluation, "compare", fake_compare(seen))
    out = tmp_path / "e.jsonl"
    rows = evaluation.evaluate(folder, SEED, out, pairs=3)
    assert seen == [0, 1, 2] and [row["psnr"] for row in rows] == [20, 21, 22]
    with open(out, "a") as file:
        file.write('{"pair": 3, "ya')  # killed while writing
    rows = evaluation.evaluate(folder, SEED, out, pairs=5)
    assert seen == [0, 1, 2, 3, 4] and len(rows) == 5
    assert len(out.read_text().splitlines()) == 5
    evaluation.evaluate(folder, SEED, out, pairs=5)
    assert len(seen) == 5
    evaluation.evaluate(folder, SEED + 1, out, pairs=1)  # another identity is another measurement
    assert seen[5:] == [0]


def test_what_a_judge_was_not_asked_yet_is_measured_again(folder, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(evaluation, "compare", fake_compare(seen))
    out = tmp_path / "e.jsonl"
    evaluation.evaluate(folder, SEED, out, pairs=2)
    judges = {"lpips": lambda image, truth, mask: {"lpips": 0.25}}
    rows = evaluation.evaluate(folder, SEED, out, pairs=2, judges=judges)
    assert seen == [0, 1, 0, 1] and [row["lpips"] for row in rows] == [0.25, 0.25]
    evaluation.evaluate(folder, SEED, out, pairs=2, judges=judges)
    evaluation.evaluate(folder, SEED, out, pairs=2)  # more figures than asked are no harm
    assert len(seen) == 4


def test_damage_within_the_file_is_not_hidden(tmp_path):
    (tmp_path / "e.jsonl").write_text('{"pair": 0}\nnonsense\n{"pair": 1}\n')
    with pytest.raises(ValueError, match="line 2"):
        evaluation.read_rows(tmp_path / "e.jsonl", None)


@pytest.mark.parametrize("text", ["my notes", "my notes\n", "[1]\n", "3"])
def test_another_file_is_left_alone(folder, tmp_path, text, monkeypatch):
    monkeypatch.setattr(evaluation, "compare", fake_compare([]))
    (tmp_path / "notes.txt").write_text(text)
    with pytest.raises(Refused, match="line 1.*give another --out"):
        evaluation.evaluate(folder, SEED, tmp_path / "notes.txt", pairs=1)
    assert (tmp_path / "notes.txt").read_text() == text


def test_seed_comes_from_the_run(tmp_path):
    with pytest.raises(Refused, match="identity"):
        evaluation.run_seed(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"image": "synthetic:42"}))
    assert evaluation.run_seed(tmp_path) == 42
    (tmp_path / "config.json").write_text(json.dumps({"image": "me.png"}))
    with pytest.raises(Refused, match=r"me\.png"):
        evaluation.run_seed(tmp_path)


def test_a_true_portrait_shows_its_own_head(monkeypatch):
    """Landmarks lie on the person, and the matte is the person's."""
    monkeypatch.setattr(synthetic_portrait, "SIZE", 96)
    portrait = synthetic_portrait.true_portrait(SEED, size=64, background=np.ones(3))
    rows, columns = np.floor(np.asarray(portrait.landmarks)).astype(int).T[::-1]
    assert np.mean(np.asarray(portrait.alpha)[rows, columns]) > 0.98
    assert 0.2 < np.mean(portrait.alpha) < 0.8
    outside = np.asarray(portrait.alpha) < 1e-3
    np.testing.assert_allclose(np.asarray(portrait.rgb)[outside], 1.0, atol=2e-3)
