"""Prepares a portrait alone: finds the face, fits the head, cuts out the person.

    python -m experiments.prepare --image=photo.jpg --out=prepared/photo
    python -m experiments.run --image=prepared/photo ...

writes picture.png (the crop), matte.png (the person in it) and portrait.npz (parameters, camera, landmarks),
which a run reads, and for the eye portrait.png, landmarks.png (detected green, fitted red), overlay.png (the
fitted head over the picture) and sheet.png (all side by side). Correct by hand what is wrong: edit matte.png,
or put another tracker's parameters beside it as tracker.npz (keys: zero1a_jax/converters/trackers.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zero1a_jax import lock, record
from zero1a_jax.commandline import command
from zero1a_jax.config import Input, option
from zero1a_jax.errors import Refused
from zero1a_jax.provenance import Provenance
from zero1a_jax.sources import portraits
from zero1a_jax.training import checks


@dataclass(frozen=True)
class Options:
    """What to prepare, and how."""

    image: str = option("", "The picture, or synthetic:SEED.")
    out: str = option("", "Folder for the results; made where it is missing.")
    mask: str = option("", "A picture of the same size, white where the person is.")
    face_index: int = option(0, "Which face of several, 0 = the largest.", low=0)
    flame: str = option("", "Folder with a FLAME model and its landmark files; else the embedded head.")
    assets: str = option("", "Folder with MediaPipe's models, else ZERO1A_ASSETS, else the embedded net.")
    size: int = option(512, "Side of the portrait in pixels.", low=32, high=2048)
    background: str = option("white", "white, black, #rrggbb, or keep.")
    accept_unsure: bool = option(False, "Go on with a fit that is most likely wrong.")
    overwrite: bool = option(False, "Replace also files in --out that others wrote or edited.")


def main(options: Options) -> None:
    """Prepares one picture and writes the folder."""
    for name in ("image", "out"):
        if not getattr(options, name):
            raise Refused(f"give --{name}=PATH")
    if Path(options.image).is_dir():
        raise Refused(f"{options.image} is a folder: give a picture")
    found = portraits.problems(Input(image=options.image, mask=options.mask))
    found += checks.flame_problems(Path(options.flame)) if options.flame else []
    if found:
        raise Refused(found[0])
    record.refuse(options.out, overwrite=options.overwrite)
    provenance = portraits.provenance(options.image)
    with lock.held(options.out):
        _write(options, provenance)


def _write(options: Options, provenance: Provenance | None) -> None:
    from zero1a_jax import preprocess
    from zero1a_jax.sources import heads, prepared_folder

    assets = options.assets or None
    model = heads.load(options.flame)
    result = preprocess.prepare_all(
        portraits.source(options.image),
        model=model,
        detector=preprocess.find_detector(assets),
        size=options.size,
        background=options.background,
        mask=options.mask or None,
        segmenter=preprocess.find_segmenter(assets),
        face_index=options.face_index,
        accept_unsure=options.accept_unsure,
    )
    prepared_folder.write(options.out, model, result, provenance=provenance, overwrite=options.overwrite)
    if (Path(options.out) / portraits.TRACKER).is_file():
        print(f"note: {portraits.TRACKER} of before stays and is used: remove it if it is of another picture")
    for note in (*preprocess.assets_notes(assets), *result.notes):
        print(f"note: {note}")
    print(f"found a face with {result.detection.source}")
    fitted = result.fit
    print(
        f"the fitted head's landmarks lie {float(fitted.error):.1%} of the eye distance from the detected "
        f"and perhaps {float(fitted.expected):.1%} from the true ones: confidence {fitted.confidence:.2f}"
    )
    print(f"wrote {options.out}: look at sheet.png; a run takes the folder as --image")


if __name__ == "__main__":
    command.run(Options, main, __doc__)
