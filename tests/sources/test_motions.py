"""One door for motion files."""

import numpy as np
import pytest

from zero1a_jax.converters import flame_npz
from zero1a_jax.errors import Refused
from zero1a_jax.sources import motions
from zero1a_jax.types import FlameParams, Motion


def test_one_door(tmp_path, tiny):
    rows = {"shape": 5, "expression": 4, "rotation": 3, "neck": 3, "jaw": 3, "translation": 3}
    values = {name: np.full((9, width), 0.1, np.float32) for name, width in rows.items()}
    flame = FlameParams(**values, eyes=np.zeros((9, 2, 3), np.float32))
    motion = Motion(flame, None, 30.0, "tiny")
    flame_npz.save(tmp_path / "a.npz", motion)
    out = motions.load(tmp_path / "a.npz", tiny(), shape=np.zeros(2), root="drop")
    assert out.fps == 30 and not out.flame.shape.any() and out.flame.jaw.any()
    (tmp_path / "a.csv").write_text("Timecode,JawOpen\n00:00:00:00.0,0.5\n")
    out = motions.load(tmp_path / "a.csv", tiny())
    np.testing.assert_allclose(out.flame.expression, [[0, 0.5, 0, 0]])
    (tmp_path / "a.bvh").write_text("HIERARCHY")
    with pytest.raises(Refused, match="convert"):
        motions.load(tmp_path / "a.bvh", tiny())
    with pytest.raises(FileNotFoundError):
        motions.load(tmp_path / "none.csv", tiny())
