"""The diffusion alone: its frames of the held-out poses, and that they are what `evaluate` measures."""

import jax
import numpy as np
import pytest
from PIL import Image

from zero1a_jax.errors import Refused
from zero1a_jax.measuring import evaluation, heldout
from zero1a_jax.sources import portrait_file
from zero1a_jax.training import held_out, setup
from zero1a_jax.training.programs import Programs


def test_frames_of_the_held_out_pairs(fakes, tmp_path, monkeypatch):
    monkeypatch.setattr(heldout, "COUNT", 5)
    monkeypatch.setattr(heldout.pairs, "__defaults__", (5,))
    config, made = fakes.small_config(method="diffusion_only"), []
    for devices in (1, 2):
        built = setup.build(config, fakes.fake_parts(), jax.local_devices()[:devices])
        made.append(held_out.frames(built, Programs(built)))
    one, two = made
    np.testing.assert_array_equal(one, two)  # padding counts for nothing
    assert one.shape == (5, fakes.SIZE, fakes.SIZE, 3) and one.dtype == np.uint8
    assert len(np.unique(one.reshape(5, -1), axis=0)) == 5  # each pose has its own condition
    folder = tmp_path / "run"
    held_out.write(built, Programs(built), folder, {"x": 1.0})
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "held_out" / "004.png")), one[4])
    assert (folder / "metrics.json").is_file() and (folder / "renders" / "contact_sheet.png").is_file()
    np.savez(folder / "portrait.npz", **portrait_file.arrays(built.parts.portrait))
    shown = evaluation.of_frames(folder / "held_out", 5, fakes.SIZE)
    ((image, cover),) = shown.images([3], None, None)
    assert cover is None
    np.testing.assert_array_equal(np.rint(image * 255), one[3])
    with pytest.raises(Refused, match=r"005\.png is missing: ask for --pairs"):
        evaluation.of_frames(folder / "held_out", 6, fakes.SIZE)
    with pytest.raises(Refused, match="32 pixels a side"):
        evaluation.of_frames(folder / "held_out", 5, 64)
