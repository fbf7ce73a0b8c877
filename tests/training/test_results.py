"""What a run leaves at its end, as --results asks."""

import json

import jax

from zero1a_jax.training import run, workdir


def test_the_avatar_alone(fakes, tmp_path, capsys):
    folder = tmp_path / "run"
    config = fakes.small_config(workdir=str(folder), steps=2, density_every=0, results="avatar")
    workdir.create(config, {}, portrait=b"")
    assert run.train_run(config, fakes.fake_parts(), folder, jax.local_devices()[:1], {"x": 1.0}) == 0
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["steps"] == 2 and metrics["seconds"]["x"] == 1.0 and metrics["portrait_psnr_masked"] > 5
    assert (folder / "export" / "avatar.ply").is_file() and (folder / "export" / "avatar_world.ply").is_file()
    left = {path.name for path in folder.rglob("*") if path.is_file()}
    assert not left & {"report.html", "avatar.html", "turntable.mp4", "expressions.mp4", "contact_sheet.png"}
    said = capsys.readouterr().out
    assert "avatar.ply" in said and "report.html" not in said
