"""The doctor says what is wrong with a machine, and lets a sound one be."""

import importlib.metadata

import pytest

from zero1a_jax.cost import doctor
from zero1a_jax.fetching import manifests


@pytest.mark.slow
def test_this_machine(tmp_path):
    found = list(doctor.findings(tmp_path / "runs", None))
    text = "\n".join(finding.text for finding in found)
    bad = [finding.text for finding in found if not finding.fine and "compiled programs" not in finding.text]
    assert not bad and "Pallas and XLA differ by" in text and "jax 0." in text


def test_other_versions(monkeypatch):
    needs = ["jax>=99", "a-package-of-nobody>=1", "numpy>=2", 'scipy>=99; extra == "viewer"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needs)
    found = {finding.text.split()[0]: finding for finding in doctor.versions()}
    assert not found["jax"].fine and "but >=99 is needed" in found["jax"].text
    assert not found["a-package-of-nobody"].fine and "pip install" in found["a-package-of-nobody"].text
    assert found["numpy"].fine and "scipy" not in found


def test_wrong_kernels_are_found(monkeypatch):
    def wrong(gaussians, camera, implementation):
        return gaussians.means + (0.01 if implementation == "pallas" else 0), gaussians

    monkeypatch.setattr(doctor, "picture_and_gradient", wrong)
    *_, last = doctor.kernels()
    assert not last.fine and "differ by" in last.text


def test_disk(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setattr(doctor, "ROOM", 1 << 60)
    here, cache = doctor.disk(tmp_path / "not" / "yet")
    assert not here.fine and "free for runs" in here.text and not cache.fine
    assert not (tmp_path / "not").exists()


def test_assets(tmp_path):
    assert list(doctor.files(tmp_path)) == []
    several = max(manifests.load(), key=lambda manifest: len(manifest.files))
    for file, fine in ((several.files[0], False), *((file, True) for file in several.files[1:])):
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        if not fine:
            assert [finding.fine for finding in doctor.files(tmp_path)] == [False]
    assert doctor.Finding(
        True, f"{several.name}: all of its {len(several.files)} files are there"
    ) in doctor.files(tmp_path)
