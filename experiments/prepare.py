"""Prepares a portrait alone: finds the face, fits the head, cuts out the person.

    python -m experiments.prepare --image=photo.jpg --out=runs/photo

writes portrait.png, matte.png, landmarks.png (detected green, fitted red), overlay.png (the fitted head over
the picture), sheet.png (all side by side) and portrait.npz (parameters, camera, landmarks, crop).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import command
from experiments.config import option


@dataclass(frozen=True)
class Options:
    """What to prepare, and how."""

    image: str = option("", "The picture.")
    out: str = option("", "Folder for the results; made where it is missing.")
    assets: str = option("", "Folder with face_landmarker.task, else ZERO1A_ASSETS, else the embedded net.")
    size: int = option(512, "Side of the portrait in pixels.", low=32, high=2048)
    background: str = option("white", "white, black, #rrggbb, or keep.")


def main(options: Options) -> None:
    """Prepares one picture and writes the folder."""
    for name in ("image", "out"):
        if not getattr(options, name):
            raise command.Refused(f"give --{name}=PATH")

    import numpy as np
    from PIL import Image

    from zero1a_jax import preprocess
    from zero1a_jax.flame import procedural_head

    model = procedural_head()
    detector = preprocess.find_detector(options.assets or None)
    prepared = preprocess.prepare_all(
        options.image, model=model, detector=detector, size=options.size, background=options.background
    )
    pictures = preprocess.pictures(model, prepared)
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.png")
    Image.fromarray(np.concatenate(list(pictures.values()), 1)).save(folder / "sheet.png")
    np.savez(folder / "portrait.npz", **arrays(prepared))
    faces = prepared.detection.faces
    several = f" (the largest of {faces} faces)" if faces > 1 else ""
    print(f"found a face with {prepared.detection.source}{several}")
    error = float(prepared.fit.error)
    print(f"the fitted head's landmarks lie {error:.1%} of the eye distance off on average: "
          f"confidence {prepared.fit.confidence:.2f}")
    print(f"wrote {folder}/sheet.png and portrait.npz")


def arrays(prepared: Any) -> dict[str, Any]:
    """What portrait.npz holds: FlameParams as flame_*, the camera as camera_*, landmarks and crop."""
    import numpy as np

    portrait = prepared.portrait
    flame = {f"flame_{name}": np.asarray(value) for name, value in vars(portrait.flame).items()}
    camera = {f"camera_{name}": np.asarray(value) for name, value in vars(portrait.camera).items()}
    return {
        **flame,
        **camera,
        "landmarks": np.asarray(portrait.landmarks),
        "fitted": np.asarray(prepared.fit.points),
        "transform": prepared.transform,
        "error": np.asarray(prepared.fit.error),
    }


if __name__ == "__main__":
    command.run(Options, main, __doc__)
