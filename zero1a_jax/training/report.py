"""report.html of a finished run: which rows, pictures and curves it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zero1a_jax import symgen
from zero1a_jax.config import to_values
from zero1a_jax.outputs import report
from zero1a_jax.sources import portraits
from zero1a_jax.training import logs, rounds
from zero1a_jax.training.setup import Setup

SHOWN = 6  # updates of a sample, besides those that were rejected
STAGES = {symgen.SPATIAL: "spatial", symgen.SYNTHETIC: "synthetic", symgen.REAL: "real"}


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
        report.Section("Dataset, sample by sample", samples(setup, folder)),
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


def samples(setup: Setup, folder: Path) -> list[str | report.Picture]:
    """A picture of each sample: the avatar above, what was generated of it below, for up to SHOWN updates."""
    found = rounds.of_slots(folder)
    if not found:
        return ["No dataset was generated, or by a version that kept no pictures of it."]
    text = (
        "Each column is an update of the sample; the first is the first fill. Above is the avatar as it was "
        "rendered then, below what the diffusion made of it, which the next column started from: the "
        f"middle and the last frame. All updates lie in {rounds.FOLDER}/, and `view` pages through them."
    )
    return [text, *(_sample(setup, slot, history) for slot, history in found.items())]


def _sample(setup: Setup, slot: int, history: list[rounds.Refreshed]) -> report.Picture:
    rejected = [entry for entry in history if entry.reason]
    kept = {int(k) for k in np.rint(np.linspace(0, len(history) - 1, min(SHOWN, len(history))))}
    kept |= set([k for k, entry in enumerate(history) if entry.reason][:SHOWN])
    chosen = [history[k] for k in sorted(kept)]
    above = [np.concatenate(list(entry.rendered), 1) for entry in chosen]
    below = [np.concatenate(list(entry.made), 1) for entry in chosen]
    labels = [f"step {entry.step}" for entry in chosen]
    labels += ["rejected" if entry.reason else f"round {entry.round}" for entry in chosen]
    caption = f"Sample {slot}, {STAGES[int(setup.samples.stage[slot])]}, generated {len(history)} times."
    for reason in sorted({entry.reason for entry in rejected}):
        at = ", ".join(str(entry.step) for entry in rejected if entry.reason == reason)
        caption += f" Rejected at step {at}: {symgen.REASONS[reason]}."
    sheet = report.contact_sheet([*above, *below], len(chosen), labels=labels)
    return report.Picture(sheet, caption, quality=85)
