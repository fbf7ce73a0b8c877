"""What judges pictures beside plain differences: LPIPS, CLIP, a face detector, a face embedding.

Each is used where its weights are given; docs/assets.md says where they come from. A judge is a function of
(image, truth, mask), see `differences.Judge`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from zero1a_jax.converters import lpips as lpips_files
from zero1a_jax.errors import NoFace, Refused
from zero1a_jax.image import losses
from zero1a_jax.image.colour import as_uint8
from zero1a_jax.measuring import clip_score
from zero1a_jax.measuring.differences import Figures, Judge
from zero1a_jax.preprocess.detect import Detection, Detector, find_detector
from zero1a_jax.sources import own_code


class Asked(NamedTuple):
    """The judges that are asked, as the flags of `evaluate` name them; "" asks none."""

    lpips: str = ""  # LPIPS's weights, as --lpips_weights of a run
    clip: str = ""  # folder of a CLIP model
    text: str = ""  # what the pictures show, for CLIP
    detect: bool = False  # landmarks, expression and pose as a detector sees them
    assets: str = ""  # folder of MediaPipe's model for that
    face_embedding: str = ""  # module:function


def asked(what: Asked) -> dict[str, Judge]:
    """The judges by a figure that each always gives.

    Raises Refused where weights or a function cannot be had.
    """
    found: dict[str, Judge] = {}
    if what.text and not what.clip:
        raise Refused("--text is for CLIP: give --clip=FOLDER too")
    if what.lpips:
        found["lpips"] = perceptual(what.lpips)
    if what.clip:
        found["clip_text" if what.text else "clip_image"] = clip_score.judge(what.clip, what.text)
    if what.detect:
        found["detected"] = seen(find_detector(what.assets or None))
    if what.face_embedding:
        found["face_identity"] = identity(own_code.function("face_embedding", what.face_embedding))
    return found


def perceptual(path: str) -> Judge:
    """lpips: LPIPS (VGG16) over the mask; lpips_frame: of the whole pictures over white."""
    try:
        weights: Any = jax.tree.map(jnp.asarray, lpips_files.load(path))
    except (FileNotFoundError, ValueError) as error:
        raise Refused(f"--lpips_weights: {error}") from error
    distance = jax.jit(losses.lpips)

    def judge(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> Figures:
        return {
            "lpips": float(distance(weights, image, truth, jnp.asarray(mask, jnp.float32))),
            "lpips_frame": float(distance(weights, image, truth, None)),
        }

    return judge


def seen(detector: Detector) -> Judge:
    """What a face detector makes of picture and truth.

    detected: 1 where it finds a face in both, else 0, and then the others are None. detected_landmarks: mean
    distance of the points over the side of a square as large as the true points' box. detected_expression:
    mean difference of the scores of ARKit's shapes, None for a detector without. detected_pose: angle between
    the two rotations, degrees.
    """

    def judge(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> Figures:
        del mask
        found = [_face(detector, picture) for picture in (truth, image)]
        if found[0] is None or found[1] is None:
            return dict.fromkeys(("detected_landmarks", "detected_expression", "detected_pose")) | {
                "detected": 0.0
            }
        return {**_apart(found[1], found[0]), "detected": 1.0}

    return judge


def _face(detector: Detector, picture: np.ndarray) -> Detection | None:
    try:
        return detector(as_uint8(np.asarray(picture)))
    except NoFace:
        return None


def _apart(face: Detection, true: Detection) -> Figures:
    points, known = face.lookup(true.ids)
    box = np.prod(np.ptp(true.points, axis=0))
    apart = np.linalg.norm(points - true.points, axis=-1)[known].mean() / np.sqrt(box)
    names = sorted(set(face.scores) & set(true.scores))
    scores = [abs(face.scores[name] - true.scores[name]) for name in names]
    cosine = (np.trace(face.rotation @ true.rotation.T) - 1.0) / 2.0
    return {
        "detected_landmarks": float(apart),
        "detected_expression": float(np.mean(scores)) if names else None,
        "detected_pose": float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))),
    }


def identity(embed: Callable[[np.ndarray], Any]) -> Judge:
    """face_identity: the cosine between embeddings of picture and truth, of one pose.

    `embed` is the user's: of a picture [H, W, 3] float32 in 0..1 to a vector, or None where it sees no face;
    the figure is None then.
    """

    def judge(image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> Figures:
        del mask
        vectors = [_vector(embed, picture) for picture in (image, truth)]
        if vectors[0] is None or vectors[1] is None:
            return {"face_identity": None}
        lengths = np.linalg.norm(vectors[0]) * np.linalg.norm(vectors[1])
        return {"face_identity": float(vectors[0] @ vectors[1] / lengths)}

    return judge


def _vector(embed: Callable[[np.ndarray], Any], picture: np.ndarray) -> np.ndarray | None:
    try:
        found = embed(np.asarray(picture, np.float32))
    except Exception as error:  # the user's code: whatever it raises is told in one sentence
        raise Refused(f"--face_embedding: {type(error).__name__}: {error}") from error
    return None if found is None else np.asarray(found, np.float64).ravel()
