"""report.html of a finished run: which rows, pictures and curves it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax.config import to_values
from zero1a_jax.outputs import report
from zero1a_jax.sources import portraits
from zero1a_jax.training import logs
from zero1a_jax.training.setup import Setup


def write_report(
    setup: Setup, folder: Path, metrics: dict[str, Any], *, page: str, image: np.ndarray, sheet: np.ndarray
) -> None:
    """One self-contained report.html, with avatar.html, whose text is `page`, in it."""
    history = logs.history(folder)

    def line(name: str) -> tuple[list[int], list[float]]:
        return [e["step"] for e in history], [e.get(name, float("nan")) for e in history]

    videos = [("turntable", "All around"), ("expressions", "Expressions")]
    data = [("dataset_before", "The dataset's first fill"), ("dataset_after", "The dataset at the end")]
    movies = {
        name: report.Movie(folder / "videos" / f"{name}.mp4", caption)
        for name, caption in (*videos, *data)
        if (folder / "videos" / f"{name}.mp4").is_file()
    }
    portrait, rendered = (
        np.asarray(setup.parts.portrait.rgb),
        portraits.is_synthetic(setup.config.input.image),
    )
    values = to_values(setup.config)
    rows = [[name, value] for name, value in metrics.items() if not isinstance(value, dict)]
    rows += [[f"seconds, {name}", value] for name, value in metrics["seconds"].items()]
    sections = [
        report.Section(
            "Portrait and avatar",
            [
                report.Picture(portrait, "The prepared portrait", scale=2, made=rendered),
                report.Picture(image, "The avatar at the portrait's view", scale=2),
            ],
        ),
        report.Section("The avatar, live", [report.Page(page, "avatar.html")]),
        report.Section("Videos", [movies[name] for name, _ in videos]),
        report.Section("Views and expressions", [report.Picture(sheet)]),
        report.Section("Dataset", [movies[name] for name, _ in data if name in movies]),
        report.Section(
            "Curves",
            [
                report.Curves({n: line(n) for n in ("loss", "l1", "perceptual")}, x_label="step", log_y=True),
                report.Curves({"psnr": line("psnr")}, x_label="step", y_label="PSNR of the batch, dB"),
            ],
        ),
        report.Section("Measured", [report.Table(("what", "value"), rows)]),
        report.Section("Flags", [report.Table(("flag", "value"), [[k, str(v)] for k, v in values.items()])]),
    ]
    report.write(
        folder / "report.html",
        title="zero1a_jax",
        sections=sections,
        subtitle=str(folder.name),
        provenance=setup.provenance,
    )
