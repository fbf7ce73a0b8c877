"""The four cells of a decomposition: which runs they are, and the table of what was measured."""

import json

import numpy as np
import pytest

from experiments import decompose
from zero1a_jax.commandline import flags, subrun
from zero1a_jax.errors import Refused
from zero1a_jax.measuring import evaluation
from zero1a_jax.showing import sheets


def test_four_cells_from_one_command_line(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(subrun, "make", made.append)

    def measured(folder, seed, out, pairs):
        better = 5.0 * folder.name.startswith("truth")
        row = dict.fromkeys(evaluation.METRICS, 0.5) | {"identity": seed, "pair": 0, "yaw": 20.0}
        return [row | {"psnr": 20.0 + better}]

    monkeypatch.setattr(evaluation, "evaluate", measured)
    monkeypatch.setattr(sheets, "turned", lambda seed, folders: [np.zeros((4, 8, 3), np.uint8)])
    given = [
        "--people=3,4",
        "--frames=truth,model",
        "--fit=true,estimated",
        f"--out={tmp_path}",
        "--flagfile=quickstart.flags",
        "--frames=4",
        "--steps=9",
    ]
    decompose.main(flags.parse(decompose.Options, decompose.untangled(given)))
    assert len(made) == 8 and {c.curriculum.frames for c in made} == {4} and made[0].update.steps == 9
    cells = {(c.input.image, c.refresh.teacher, c.input.fit) for c in made}
    assert ("synthetic:3", "diffusion", "estimated") in cells and len(cells) == 8
    table = json.loads((tmp_path / "table.json").read_text())
    assert set(table) == {"truth/true", "truth/estimated", "model/true", "model/estimated"}
    assert table["truth/true"]["psnr"] == 25.0 and table["model/true"]["by_yaw"]["15-30"]["pairs"] == 2
    assert (tmp_path / "sheet.png").is_file()


@pytest.mark.parametrize(
    ("given", "words"), [(["--frames=best,truth"], "frames"), (["--fit=guess"], "--fit=guess"), ([], "--out")]
)
def test_wrong_cells_are_refused(tmp_path, given, words):
    arguments = [*given, *([f"--out={tmp_path}"] if given else [])]
    with pytest.raises(Refused, match=words):
        decompose.main(flags.parse(decompose.Options, decompose.untangled(arguments)))
