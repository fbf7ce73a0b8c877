"""The embedded default head: a FLAME-like model of our own construction, shipped as assets/head.npz.

`python -m zero1a_jax.flame.procedural` constructs it again (deterministically, in about 20 seconds) and
writes the asset. Construction needs scipy; loading needs numpy alone.
"""

from __future__ import annotations

import functools
import io
import zipfile
from importlib import resources
from pathlib import Path

import numpy as np

from zero1a_jax.types import FlameModel

VERSION = "zero1a-head-1"
_ASSET = resources.files("zero1a_jax") / "assets" / "head.npz"
_HALF = ("shape_basis", "expression_basis", "pose_basis")  # displacements ship as float16
_ARRAYS = (
    "template",
    "shape_basis",
    "expression_basis",
    "pose_basis",
    "joint_regressor",
    "skinning",
    "faces",
    "landmark_faces",
    "landmark_barycentrics",
    "contour_faces",
    "contour_barycentrics",
    "mediapipe_faces",
    "mediapipe_barycentrics",
    "mediapipe_indices",
    "uv",
    "uv_faces",
)


def construct() -> dict[str, np.ndarray]:
    """Builds the head from nothing: the contents of the asset, name to array."""
    from zero1a_jax.flame import head_expressions, head_identity, head_landmarks, head_mesh, head_rig, head_uv

    mesh = head_mesh.build()
    rig = head_rig.build(mesh)
    expressions = head_expressions.expression_shapes(rig)
    identities = head_identity.identity_shapes(rig)
    moves = np.stack(list(expressions.values()), -1)
    still = np.abs(moves).max((1, 2)) < 2e-5
    indices, mp_faces, mp_bary = head_landmarks.mediapipe(mesh)
    lm_faces, lm_bary = head_landmarks.static51(indices, mp_faces, mp_bary)
    contour_faces, contour_bary = head_landmarks.contour(mesh)
    uv, uv_faces = head_uv.texture_coordinates(mesh)
    masks = head_uv.region_masks(mesh)
    arrays = {
        "template": mesh.vertices,
        "shape_basis": np.stack(list(identities.values()), -1),
        "expression_basis": moves,
        "pose_basis": head_rig.pose_basis(rig),
        "joint_regressor": head_rig.joint_regressor(rig, still),
        "skinning": rig.skinning,
        "faces": mesh.faces,
        "landmark_faces": lm_faces,
        "landmark_barycentrics": lm_bary,
        "contour_faces": contour_faces,
        "contour_barycentrics": contour_bary,
        "mediapipe_faces": mp_faces,
        "mediapipe_barycentrics": mp_bary,
        "mediapipe_indices": indices,
        "uv": uv,
        "uv_faces": uv_faces,
    }
    out: dict[str, np.ndarray] = {}
    out |= {k: np.asarray(a, np.float32 if a.dtype.kind == "f" else np.int32) for k, a in arrays.items()}
    for name in _HALF:
        out[name] = np.where(np.abs(out[name]) < 3e-6, 0, out[name]).astype(np.float16)
    out["mask_names"] = np.array(sorted(masks))
    out["masks"] = np.stack([masks[k] for k in sorted(masks)])
    out["expression_names"] = np.array(list(expressions))
    out["shape_names"] = np.array(list(identities))
    return out


def from_arrays(arrays: dict[str, np.ndarray]) -> FlameModel:
    """The model of the asset's arrays: float32, int32 and bool numpy arrays."""
    fields = {k: arrays[k] for k in _ARRAYS}
    fields = {k: a.astype(np.float32) if a.dtype.kind == "f" else a for k, a in fields.items()}
    masks = dict(zip(arrays["mask_names"].tolist(), arrays["masks"], strict=True))
    return FlameModel(
        masks=masks,
        parents=(-1, 0, 1, 1, 1),
        expression_names=tuple(arrays["expression_names"].tolist()),
        version=VERSION,
        **fields,
    )


@functools.cache
def procedural_head() -> FlameModel:
    """The embedded default head.

    Semantics of its coefficients: `expression` are ARKit weights (see head_expressions: jawOpen and eyeLook*
    are linear shapes that approximate the joints' rotations, so use either them or params.jaw and
    params.eyes); `shape` counts standard deviations (head_identity); joints as FLAME's.

    Raises:
        FileNotFoundError: the asset is missing; run `python -m zero1a_jax.flame.procedural`.
    """
    if not _ASSET.is_file():
        raise FileNotFoundError(
            "assets/head.npz is missing; run `python -m zero1a_jax.flame.procedural` to construct it"
        )
    with np.load(io.BytesIO(_ASSET.read_bytes()), allow_pickle=False) as arrays:
        return from_arrays({k: arrays[k] for k in arrays.files})


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a compressed .npz whose bytes depend on the arrays alone (no times)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, arrays[name], allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    target = Path(str(_ASSET))
    save(target, construct())
    head = procedural_head()
    print(
        f"{target.name}: {len(head.template)} vertices, {len(head.faces)} faces, "
        f"{head.shape_basis.shape[-1]} identity and {head.expression_basis.shape[-1]} expression shapes, "
        f"{target.stat().st_size / 1e6:.2f} MB"
    )
