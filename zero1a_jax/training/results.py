"""What a finished run leaves: .ply, videos, contact sheet, metrics.json, avatar.html and report.html."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax import files, outputs, symgen
from zero1a_jax.avatar import pose, pose_blurred
from zero1a_jax.devices import first, mine
from zero1a_jax.errors import NoFace
from zero1a_jax.flame import frame_target
from zero1a_jax.geometry import resize
from zero1a_jax.image import ops
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.image.landmarks import OUTER_EYE_CORNERS
from zero1a_jax.once import bound
from zero1a_jax.outputs import report
from zero1a_jax.provenance import Provenance
from zero1a_jax.rasterizer import until_fits
from zero1a_jax.showing import living, poses
from zero1a_jax.sources import avatars, portraits
from zero1a_jax.sources.avatars import Loaded
from zero1a_jax.training.loop import counters
from zero1a_jax.training.programs import Programs
from zero1a_jax.training.progress import Progress
from zero1a_jax.training.report import write_report
from zero1a_jax.training.setup import Setup
from zero1a_jax.types import Avatar, Dataset, FlameModel

FPS = 25


def dataset_video(path: Path, shown: Dataset, provenance: Provenance) -> None:
    """All filled samples side by side, frame by frame, back and forth."""
    filled = np.flatnonzero((shown.round > 0) & ~shown.frozen)
    if not len(filled):
        return
    columns = int(np.ceil(np.sqrt(len(filled))))
    videos = shown.rgb[filled]
    sheets = np.stack([report.contact_sheet(list(videos[:, t]), columns) for t in range(videos.shape[1])])
    outputs.video.write(path, [*sheets, *sheets[-2:0:-1]], 8, provenance=provenance)


def render_shots(setup: Setup, loaded: Loaded, shots: poses.Shots) -> np.ndarray:
    """Frames uint8 [K, H, W, 3] of the avatar, which is blurred where they are larger than the dataset's."""
    parts, avatar, blur = setup.parts, loaded.avatar, avatars.blur_for(loaded, int(shots.cameras.height))
    neutral = pose(avatar, parts.model, jax.tree.map(lambda x: x[0], shots.flame))
    capacity = parts.suggest_capacity(neutral, shots.cameras, margin=2.0)

    def attempt(room: int) -> tuple[jax.Array, jax.Array]:
        render = bound(parts.render, capacity=room, background=setup.background)

        @jax.jit
        def frames(avatar: Avatar, model: FlameModel, shots: poses.Shots) -> tuple[jax.Array, jax.Array]:
            def frame(shot: poses.Shots) -> tuple[jax.Array, jax.Array]:
                image = render(pose_blurred(avatar, model, shot.flame, blur), shot.cameras)
                return image.rgb, image.overflow

            rgb, overflow = jax.lax.map(frame, shots)
            return rgb, jnp.max(overflow)

        return frames(avatar, parts.model, shots)

    return as_uint8(until_fits(attempt, capacity)[0])


def portrait_metrics(
    setup: Setup, programs: Programs, progress: Progress
) -> tuple[dict[str, Any], np.ndarray]:
    """How well the avatar repeats the portrait at its own view, and the frame [H, W, 3]."""
    portrait, devices = setup.parts.portrait, len(mine(setup.devices))
    views = np.asarray(programs.plan(0).views)
    camera, flame = symgen.sequence(setup.samples, 0, views)
    camera, flame = jax.tree.map(lambda x: np.stack([x] * devices), (camera, flame))

    def attempt(capacity: int) -> tuple[tuple[Any, Any], Any]:
        rgb, alpha, overflow = programs.render(capacity)(progress.state.avatar, setup.model, flame, camera)
        return (rgb, alpha), overflow

    (rgb, alpha), progress.capacity = until_fits(attempt, progress.capacity)
    image, matte = np.asarray(rgb)[0, 0], np.asarray(alpha)[0, 0]
    truth, mask = np.asarray(portrait.rgb), np.asarray(portrait.alpha) > 0.5
    values = {
        "portrait_psnr_masked": float(ops.psnr(image, truth, mask)),
        "portrait_psnr": float(ops.psnr(image, truth)),
        "portrait_alpha_iou": float(((matte > 0.5) & mask).sum() / max(((matte > 0.5) | mask).sum(), 1)),
    }
    return values, image


def landmark_metrics(setup: Setup, large: np.ndarray) -> dict[str, Any]:
    """Median distance between the landmarks that are detected in the avatar's render [h, w, 3] and in the
    portrait, over the portrait's outer eye distance.

    The portrait is enlarged to the render's size: what a detector finds depends on the size.
    """
    detector, portrait = setup.parts.detector, setup.parts.portrait
    if detector is None:
        return {}
    ids = np.asarray(setup.parts.model.mediapipe_indices)
    enlarged = as_uint8(jax.image.resize(portrait.rgb, large.shape, "cubic"))
    try:
        face, original = detector(large), detector(enlarged)
    except NoFace as error:  # a result too
        return {"portrait_landmark_error": None, "portrait_landmark_note": str(error)}
    points, known = face.lookup(ids)
    truth, _ = original.lookup(ids)
    corners = [int(np.flatnonzero(ids == corner)[0]) for corner in OUTER_EYE_CORNERS]
    between = float(np.linalg.norm(truth[corners[0]] - truth[corners[1]]))
    errors = np.linalg.norm(points - truth, axis=-1)[known] / max(between, 1e-6)
    return {"portrait_landmark_error": float(np.median(errors)), "landmark_source": face.source}


def living_page(setup: Setup, loaded: Loaded, folder: Path) -> str:
    """Writes avatar.html and returns its text."""
    paths = setup.config.input.motions
    motions = {Path(path).name: motion for path, motion in zip(paths, setup.parts.motions, strict=True)}
    text = living.text(loaded, name=folder.name, motions=motions, provenance=setup.provenance)
    files.write_text(folder / living.PAGE, text)
    return text


def finish(
    setup: Setup, programs: Programs, progress: Progress, folder: Path, seconds: dict[str, float]
) -> dict[str, Any]:
    """Writes what --results asks for and returns the metrics. metrics.json comes last: it marks the end."""
    config, parts = setup.config, setup.parts
    avatar = jax.tree.map(jnp.asarray, first(progress.state.avatar))
    meta = {
        "flame_version": parts.model.version,
        "faces": len(parts.model.faces),
        "size": parts.portrait.rgb.shape[0],
        "background": setup.background,
        "seed": config.runner.seed,
        "caption": portraits.caption(config.input),
    }
    posed = pose(avatar, parts.model, poses.expression(parts.model, 0))
    outputs.save_avatar(folder / "export", avatar, posed, meta, provenance=setup.provenance)
    measured, image = portrait_metrics(setup, programs, progress)
    metrics = measured | {
        "steps": config.update.steps,
        "gaussians": int(np.asarray(avatar.alive).sum()),
        "samples": int(len(progress.dataset.round) - 1),
        **counters(progress),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
    }
    if config.runner.results == "all":
        loaded = Loaded(avatar, parts.model, meta, parts.arkit)
        metrics = show(setup, progress, loaded, folder, metrics=metrics, image=image)
    files.write_json(folder / "metrics.json", metrics)
    return metrics


def show(
    setup: Setup,
    progress: Progress,
    loaded: Loaded,
    folder: Path,
    *,
    metrics: dict[str, Any],
    image: np.ndarray,
) -> dict[str, Any]:
    """Writes what one looks at: videos, pictures, avatar.html and report.html; returns the metrics with what
    was measured on the way. `image` is the avatar at the portrait's view."""
    parts, provenance = setup.parts, setup.provenance
    size = 2 * parts.portrait.rgb.shape[0]
    target = frame_target(parts.model, loaded.avatar.shape)
    own = poses.Shots(
        jax.tree.map(lambda x: jnp.asarray(x)[None], resize(parts.portrait.camera, size, size)),
        jax.tree.map(lambda x: jnp.asarray(x)[None], parts.portrait.flame),
    )
    lists = [
        own._replace(flame=own.flame.replace(shape=jnp.zeros_like(own.flame.shape))),
        poses.turntable(parts.model, target, size),
        poses.expressions(parts.model, target, size, arkit=parts.arkit),
        poses.sheet(parts.model, target, size, arkit=parts.arkit),
    ]
    frames = render_shots(setup, loaded, poses.joined(lists))
    ends = np.cumsum([len(part.flame.expression) for part in lists])[:-1]
    portrait_view, turning, moving, tiles = np.split(frames, ends)
    begin = time.monotonic()
    page = living_page(setup, loaded, folder)
    seconds = metrics["seconds"] | {living.PAGE: round(time.monotonic() - begin, 1)}
    outputs.video.write(folder / "videos" / "turntable.mp4", turning, FPS, provenance=provenance)
    outputs.video.write(folder / "videos" / "expressions.mp4", moving, FPS, provenance=provenance)
    dataset_video(folder / "videos" / "dataset_after.mp4", progress.dataset, provenance)
    labels = [f"{name}, {yaw}" for name, _, _ in poses.SHOWN for yaw in poses.SHEET_YAWS]
    sheet = report.contact_sheet(list(tiles), len(poses.SHEET_YAWS), labels=labels)
    report.save_png(folder / "renders" / "contact_sheet.png", sheet, provenance=provenance)
    # A photograph is not synthetic.
    made = provenance if portraits.is_synthetic(setup.config.input.image) else None
    report.save_png(folder / "renders" / "portrait.png", as_uint8(parts.portrait.rgb), provenance=made)
    report.save_png(folder / "renders" / "portrait_avatar.png", as_uint8(image), provenance=provenance)
    metrics = metrics | landmark_metrics(setup, portrait_view[0]) | {"seconds": seconds}
    write_report(setup, folder, metrics, page=page, image=image, sheet=sheet)
    return metrics
