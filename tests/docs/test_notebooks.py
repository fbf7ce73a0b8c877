"""The notebooks run from top to bottom as scripts; what they claim they assert themselves."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[2]
SKIP = "skip-ci"  # the tag of cells that take long or write files
NAMES = ("quickstart", "train_an_avatar")


def notebook(name):
    return json.loads((ROOT / "docs" / f"{name}.ipynb").read_text("utf-8"))


def code(cells):
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def is_skipped(cell):
    return SKIP in cell["metadata"].get("tags", [])


def run(name, folder):
    """What the notebook's cells print, run as one script in an empty folder."""
    script = folder / f"{name}.py"
    script.write_text("\n\n".join(code(c for c in notebook(name)["cells"] if not is_skipped(c))), "utf-8")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        env=os.environ | cache | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(p.name for p in folder.iterdir()) == [script.name]  # nothing is left behind
    return done.stdout


def test_quickstart(tmp_path, compilation_cache):
    """The person, the first avatar and its smile; the curriculum as the defaults have it."""
    text = run("quickstart", tmp_path)
    change = re.search(r"at the mouth (\S+), elsewhere (\S+),", text)
    assert change and float(change[1]) > 4 and float(change[2]) < 1
    assert re.search(r"^ +8000 .* 20 spatial, 10 synthetic, 10 real$", text, re.M)


@pytest.mark.slow
def test_train_an_avatar(tmp_path, compilation_cache):
    """Fifty steps bring views and expressions nearer that the avatar was not trained on."""
    text = run("train_an_avatar", tmp_path)
    before, after = (float(value) for value in re.findall(r"mean (\S+)$", text, re.M))
    assert after > before + 2


@pytest.mark.parametrize("name", NAMES)
def test_cells(name):
    """Long cells have no result in the file; all others have run, in order, without an error."""
    cells = [cell for cell in notebook(name)["cells"] if cell["cell_type"] == "code"]
    skipped = [cell for cell in cells if is_skipped(cell)]
    assert skipped and all(cell["execution_count"] is None and not cell["outputs"] for cell in skipped)
    others = [cell for cell in cells if not is_skipped(cell)]
    assert [cell["execution_count"] for cell in others] == list(range(1, len(others) + 1))
    assert not [out for cell in others for out in cell["outputs"] if out["output_type"] == "error"]
    for text in code(skipped):
        compile(text, name, "exec")


def test_long_calls_are_tagged():
    text = {name: "\n".join(code(c for c in notebook(name)["cells"] if not is_skipped(c))) for name in NAMES}
    assert [name for name in NAMES if re.search(r"\bz\.(run|animate|export|prepare)\(", text[name])] == []


def test_files_are_small_and_name_no_machine():
    files = [ROOT / "docs" / f"{name}.ipynb" for name in NAMES]
    assert sum(path.stat().st_size for path in files) < 600_000
    for path in files:
        assert not re.search(
            r"/(home|tmp|work|Users)/", re.sub(r'"image/png": "[^"]*"', "", path.read_text())
        )


@pytest.mark.parametrize("name", NAMES)
def test_links(name):
    cells = [c for c in notebook(name)["cells"] if c["cell_type"] == "markdown"]
    links = re.findall(r"\]\(([^)#]+)", "\n".join("".join(cell["source"]) for cell in cells))
    assert links and [link for link in links if not (ROOT / "docs" / link).is_file()] == []
