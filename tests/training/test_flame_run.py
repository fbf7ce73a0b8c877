"""FLAME at its true size through every command, with real parts scaled down in steps alone."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from zero1a_jax import outputs
from zero1a_jax.flame import procedural_head
from zero1a_jax.sources import heads

ROOT = Path(__file__).parents[2]
OPTIONS = (
    "--image=synthetic:7",
    "--steps=61",
    "--update_every=30",
    "--size=128",
    "--frames=4",
    "--spatial_samples=2",
    "--synthetic_samples=1",
    "--real_samples=1",
    "--view_interval=12",
    "--synthetic_start=20",
    "--real_start=40",
    "--density_start=20",
    "--density_every=20",
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("zero1a_test_flame_folder", ROOT / "tests/flame_folder.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def flame(maker, tmp_path_factory):
    return maker.write(tmp_path_factory.mktemp("flame"))


def run(folder: Path, command: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{command}", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")},
        timeout=3000,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout


def test_it_is_read_as_the_official_files_are(flame):
    head = heads.load(flame)
    assert head.version == "flame2020" and head.expression_names == ()
    assert head.template.shape == (5023 + 120, 3) and head.faces.shape == (9976 + 168, 3)
    assert head.shape_basis.shape[2] == 300 and head.expression_basis.shape[2] == 100
    assert np.abs(np.asarray(head.shape_basis)).max((0, 1)).min() > 0 and head.uv is not None


def test_its_own_arkit_table_says_the_same_as_the_embedded_head(maker, flame, tmp_path):
    """Offsets of the named shapes on this mesh, in LAM's layout, against least squares at the landmarks."""
    from zero1a_jax.converters.arkit import NAMES

    embedded, head = procedural_head(), heads.load(flame)
    matrix, _ = maker.resized(embedded)
    basis = np.einsum("nv,vck->knc", matrix, np.asarray(embedded.expression_basis, np.float64))
    np.save(tmp_path / "table.npy", basis[[embedded.expression_names.index(name) for name in NAMES]])
    table, own = heads.arkit(head, tmp_path / "table.npy"), heads.arkit(head)
    for name in ("mouthSmileLeft", "eyeBlinkRight", "browInnerUp", "mouthPucker", "cheekPuff"):
        given = basis[embedded.expression_names.index(name)]
        for found in (table, own):
            k = found.names.index(name)
            moved = np.asarray(head.expression_basis)[:5023] @ np.asarray(found.expression)[k]
            assert np.linalg.norm(moved - given) < 0.35 * np.linalg.norm(given), name
    k, other = table.names.index("jawOpen"), own.names.index("jawOpen")
    assert table.jaw[k, 0] > 0.15 and own.jaw[other, 0] == pytest.approx(table.jaw[k, 0], rel=0.3)


def test_the_whole_pipeline(flame, tmp_path):
    folder, given = tmp_path / "run", f"--flame={flame}"
    quick = f"--flagfile={ROOT / 'experiments/flagfiles/quickstart.flags'}"
    run(tmp_path, "run", quick, *OPTIONS, given, f"--workdir={folder}")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["portrait_psnr_masked"] > 24 and metrics["portrait_alpha_iou"] > 0.9, metrics
    assert metrics["skipped"] == 0 and metrics["rejected"] == 0, metrics
    csv = tmp_path / "a.csv"
    csv.write_text("Timecode,JawOpen,EyeBlinkLeft,EyeBlinkRight\n00:00:00:00.0,0,0,0\n00:00:00:20.0,1,1,1\n")
    run(
        tmp_path,
        "animate",
        f"--avatar={folder}",
        given,
        f"--motion={csv}",
        f"--out={tmp_path}/a.mp4",
        "--size=128",
        "--fps=12",
    )
    frames, _ = outputs.video.read(tmp_path / "a.mp4")
    assert len(frames) > 3 and np.abs(frames[0].astype(int) - frames[-1]).max() > 60
    said = run(tmp_path, "evaluate", f"--avatar={folder}", given, "--pairs=5", "--supersample=1")
    assert "5 pairs" in said
    rows = [json.loads(line) for line in (folder / "evaluation.jsonl").read_text().splitlines()]
    psnr, landmarks = (np.mean([row[name] for row in rows]) for name in ("psnr", "landmark_error"))
    assert psnr > 14 and landmarks < 0.08, (psnr, landmarks)
