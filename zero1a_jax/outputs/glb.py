"""A head as an animated mesh in one .glb: morph targets, joints with a skin, a texture, perhaps a motion.

glTF 2.0 in its binary form, which Blender, Unity, Unreal and three.js read. Metres, y up, +z out of the face,
as in glTF. It is written with numpy and json, since the libraries at hand take the parts that matter away:
trimesh writes neither skins nor morph targets, and pygltflib is a set of plain classes for the JSON, which
leaves packing, sparse targets and bounds to its user all the same.
Source: Khronos, glTF 2.0 specification (ISO/IEC 12113).
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any, NamedTuple

import numpy as np

from zero1a_jax import files
from zero1a_jax.errors import Refused
from zero1a_jax.provenance import Provenance

_FLOAT, _UINT, _UBYTE = 5126, 5125, 5121
_ARRAY, _ELEMENTS = 34962, 34963
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_INFLUENCES = 4  # joints that one vertex may hang on


class Mesh(NamedTuple):
    """A head at rest; vertices that lie on a seam of the texture come once for each side."""

    positions: np.ndarray  # [V, 3], metres
    normals: np.ndarray  # [V, 3], unit
    uv: np.ndarray  # [V, 2], v up
    faces: np.ndarray  # [F, 3], wound outward
    targets: dict[str, np.ndarray]  # name to offsets [V, 3], metres
    joints: np.ndarray  # [J, 3], metres, at rest
    joint_names: tuple[str, ...]  # [J]
    parents: tuple[int, ...]  # [J], the root's is -1
    skinning: np.ndarray  # [V, J], rows sum to 1
    texture: bytes  # a .png


class Frames(NamedTuple):
    """T poses of a Mesh."""

    weights: np.ndarray  # [T, K] of its targets, in their order
    rotations: np.ndarray  # [T, J, 4] xyzw, unit, of each joint against its parent
    translations: np.ndarray  # [T, J, 3], metres, likewise


def save(
    path: str | os.PathLike,
    mesh: Mesh,
    pose: Frames,
    *,
    motion: Frames | None = None,
    fps: float = 25.0,
    name: str = "head",
    provenance: Provenance | None = None,
) -> None:
    """Writes a .glb, atomically.

    Args:
      path: the file. mesh: the head.
      pose: one frame [1]: how it stands before anything moves it.
      motion: an animation, `fps` frames a second, interpolated linearly.
      name: of mesh and animation. provenance: what `asset` says.

    Raises:
      Refused: a vertex hangs on more than four joints.
    """
    if ((mesh.skinning > 0).sum(1) > _INFLUENCES).any():
        raise Refused(f"a vertex hangs on more than {_INFLUENCES} joints, which a .glb cannot hold")
    buffer = _Buffer()
    bones = len(mesh.parents)
    view = buffer.view(mesh.texture)
    document: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0, 1]}],
        "nodes": [{"name": name, "mesh": 0, "skin": 0}, *_nodes(mesh, pose)],
        "meshes": [_mesh(buffer, mesh, pose, name)],
        "skins": [
            {
                "joints": list(range(1, bones + 1)),
                "skeleton": 1,
                "inverseBindMatrices": buffer.accessor(_inverse_binds(mesh.joints)),
            }
        ],
        "materials": [
            {
                "name": "skin",
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": 0},
                    "metallicFactor": 0.0,
                    "roughnessFactor": 0.8,
                },
                # The colours are those of a portrait, with its light in them: no second light on top.
                "extensions": {"KHR_materials_unlit": {}},
            }
        ],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
        "images": [{"bufferView": view, "mimeType": "image/png", "name": "skin"}],
    }
    if provenance is not None:
        document["asset"] |= {"generator": provenance.program, "extras": provenance.facts}
    if motion is not None:
        document["animations"] = [_animation(buffer, motion, bones, fps, name)]
    files.write_bytes(path, buffer.packed(document))


class _Buffer:
    """The binary chunk, with the views and accessors that speak of it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, data: bytes, target: int | None = None) -> int:
        self.data += bytes(-len(self.data) % 4)
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)})
        if target is not None:
            self.views[-1]["target"] = target
        self.data += data
        return len(self.views) - 1

    def accessor(self, values: np.ndarray, *, target: int | None = None, bounds: bool = False) -> int:
        values = np.ascontiguousarray(values)
        rows = values.reshape(len(values), -1)
        of_type = {np.dtype("f4"): _FLOAT, np.dtype("u4"): _UINT, np.dtype("u1"): _UBYTE}[values.dtype]
        found = {"bufferView": self.view(values.tobytes(), target), "componentType": of_type}
        return self._add(found, rows, bounds)

    def sparse(self, offsets: np.ndarray) -> int:
        """Offsets [V, 3], of which only those that are not 0 are stored."""
        index = np.flatnonzero(np.abs(offsets).max(1) > 0)
        found: dict[str, Any] = {"componentType": _FLOAT}
        if len(index):
            found["sparse"] = {
                "count": len(index),
                "indices": {"bufferView": self.view(index.astype("<u4").tobytes()), "componentType": _UINT},
                "values": {"bufferView": self.view(offsets[index].astype("<f4").tobytes())},
            }
        return self._add(found, offsets.astype(np.float32), True)

    def _add(self, found: dict[str, Any], rows: np.ndarray, bounds: bool) -> int:
        found |= {"count": len(rows), "type": _KINDS[rows.shape[1]]}
        if bounds:
            found |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
        self.accessors.append(found)
        return len(self.accessors) - 1

    def packed(self, document: dict[str, Any]) -> bytes:
        self.data += bytes(-len(self.data) % 4)
        document |= {
            "buffers": [{"byteLength": len(self.data)}],
            "bufferViews": self.views,
            "accessors": self.accessors,
        }
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self.data), b"BIN\0") + bytes(self.data)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _mesh(buffer: _Buffer, mesh: Mesh, pose: Frames, name: str) -> dict[str, Any]:
    def attribute(values: np.ndarray, *, bounds: bool = False) -> int:
        return buffer.accessor(values, target=_ARRAY, bounds=bounds)

    joints, weights = _influences(mesh.skinning)
    primitive = {
        "attributes": {
            "POSITION": attribute(mesh.positions.astype("<f4"), bounds=True),
            "NORMAL": attribute(mesh.normals.astype("<f4")),
            "TEXCOORD_0": attribute((mesh.uv * [1, -1] + [0, 1]).astype("<f4")),  # glTF's v runs down
            "JOINTS_0": attribute(joints),
            "WEIGHTS_0": attribute(weights),
        },
        "indices": buffer.accessor(mesh.faces.reshape(-1).astype("<u4"), target=_ELEMENTS),
        "material": 0,
        "targets": [{"POSITION": buffer.sparse(offsets)} for offsets in mesh.targets.values()],
    }
    return {
        "name": name,
        "primitives": [primitive],
        "weights": pose.weights[0].tolist(),
        "extras": {"targetNames": list(mesh.targets)},
    }


def _influences(skinning: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The heaviest joints [V, 4] of each vertex and weights [V, 4] that sum to 1; unused ones are 0."""
    joints = np.argsort(-skinning, 1, kind="stable")[:, :_INFLUENCES]
    weights = np.take_along_axis(skinning, joints, 1).astype(np.float64)
    weights = (weights / weights.sum(1, keepdims=True)).astype("<f4")
    return np.where(weights > 0, joints, 0).astype(np.uint8), weights


def _inverse_binds(joints: np.ndarray) -> np.ndarray:
    """Matrices [J, 16], column by column, that take a vertex into the frame of a joint at rest."""
    matrices = np.tile(np.eye(4, dtype="<f4"), (len(joints), 1, 1))
    matrices[:, 3, :3] = -joints
    return matrices.reshape(len(joints), 16)


def _nodes(mesh: Mesh, pose: Frames) -> list[dict[str, Any]]:
    """The joints as nodes 1 .. J."""
    nodes = []
    for joint, name in enumerate(mesh.joint_names):
        children = [child + 1 for child, parent in enumerate(mesh.parents) if parent == joint]
        node: dict[str, Any] = {"name": name, "translation": pose.translations[0, joint].tolist()}
        node["rotation"] = pose.rotations[0, joint].tolist()
        nodes.append(node | ({"children": children} if children else {}))
    return nodes


def _animation(buffer: _Buffer, motion: Frames, bones: int, fps: float, name: str) -> dict[str, Any]:
    seconds = (np.arange(len(motion.weights)) / fps).astype("<f4")
    time = buffer.accessor(seconds, bounds=True)
    tracks = [(0, "weights", motion.weights.reshape(-1))]
    for joint in range(bones):
        tracks.append((joint + 1, "rotation", motion.rotations[:, joint]))
        tracks.append((joint + 1, "translation", motion.translations[:, joint]))
    return {
        "name": name,
        "samplers": [
            {"input": time, "interpolation": "LINEAR", "output": buffer.accessor(values.astype("<f4"))}
            for _, _, values in tracks
        ],
        "channels": [
            {"sampler": index, "target": {"node": node, "path": path}}
            for index, (node, path, _) in enumerate(tracks)
        ],
    }
