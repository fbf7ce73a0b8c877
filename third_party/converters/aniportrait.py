"""AniPortrait's checkpoint folder to the parameters of zero1a_jax.diffusion.

Every key of every file is used exactly once; a key that is missing, left over, or of the wrong size raises
ValueError. PyTorch layouts: convolutions OIHW, linear [out, in]. Neither torch nor
diffusers is needed: a .pth goes through the allow-list reader, which executes nothing.
"""

from __future__ import annotations

import pathlib
import re

import numpy as np
from safetensors.numpy import load_file

from third_party.converters.unpickle import load_torch

PARTS = {
    "reference": ("reference_unet",),
    "denoiser": ("denoising_unet", "motion_module"),
    "pose_guider": ("pose_guider",),
    "vae": ("vae",),
    "image_encoder": ("image_encoder",),
}
RENAMES = (
    (".temporal_transformer.", "."),
    (".transformer_blocks.0.", ".block."),
    (".to_out.0.", ".to_out."),
    (".ff.net.0.proj.", ".ff.proj."),
    (".ff.net.2.", ".ff.out."),
    (".norm2.", ".norm2."),
)
VAE_RENAMES = ((".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value."), (".to_out.", ".proj_attn."))


def load(folder: str | pathlib.Path) -> dict:
    """A folder with PART.safetensors or PART.pth for the six parts -> the parameter tree, float32 arrays.

    Where a part has both, .safetensors is read. Raises ValueError for a part that is missing or damaged.
    """
    folder = pathlib.Path(folder)
    return {
        part: convert(part, {key: value for name in names for key, value in _tensors(folder, name).items()})
        for part, names in PARTS.items()
    }


def _tensors(folder: pathlib.Path, name: str) -> dict[str, np.ndarray]:
    for suffix, read in ((".safetensors", load_file), (".pth", load_torch)):
        file = folder / f"{name}{suffix}"
        if file.is_file():
            found = read(file)
            if not isinstance(found, dict) or not all(isinstance(v, np.ndarray) for v in found.values()):
                raise ValueError(f"{file} holds something else than named tensors.")
            return found
    raise ValueError(f"{folder / name} is missing; AniPortrait has a .safetensors or .pth for each part.")


def convert(part: str, tensors: dict[str, np.ndarray]) -> dict:
    """The tensors of one part (see PARTS) to its tree."""
    tree: dict = {}
    for key, value in tensors.items():
        if key.endswith(("num_batches_tracked", "embeddings.position_ids")):
            continue  # counters, without influence on the result
        value = np.asarray(value, np.float32)
        if key.endswith("pos_encoder.pe"):
            _check_positions(key, value)
            continue
        path, value = _entry(part, key, value)
        node = tree
        for name in path[:-1]:
            node = node.setdefault(name, {})
        if path[-1] in node:
            raise ValueError(f"two keys lead to {'/'.join(path)}; the second is {key}.")
        node[path[-1]] = value
    if part == "vae":
        channels = tree["post_quant_conv"]["bias"].shape[0]
        std = np.full(channels, 1 / 0.18215, np.float32)
        return {"network": tree, "mean": np.zeros(channels, np.float32), "std": std}
    return tree


def check(tree: dict, like: dict, path: str = "") -> None:
    """Raises ValueError unless `tree` has exactly the names and shapes of `like` (a tree from `init`)."""
    if set(tree) != set(like):
        missing, extra = sorted(set(like) - set(tree)), sorted(set(tree) - set(like))
        raise ValueError(
            f"at {path or '/'}: missing {missing}, not expected {extra}; do file and config agree?"
        )
    for name, value in tree.items():
        if isinstance(value, dict):
            check(value, like[name], f"{path}/{name}")
        elif tuple(value.shape) != tuple(like[name].shape):
            raise ValueError(f"{path}/{name} is {value.shape}, the config wants {tuple(like[name].shape)}.")


def _entry(part: str, key: str, value: np.ndarray) -> tuple[list[str], np.ndarray]:
    if part == "image_encoder":
        return _clip_entry(key, value)
    name = "." + key
    for old, new in RENAMES:
        name = name.replace(old, new)
    if part == "vae":
        for old, new in VAE_RENAMES:
            name = name.replace(old, new)
        if re.search(r"\.(query|key|value|proj_attn)\.", name) and value.ndim == 4:
            value = value[:, :, 0, 0]
    if part == "pose_guider":
        name = _pose_name(name)
    name = re.sub(r"\.block\.norm2\.", ".block.attn2.norm.", name)
    path = re.sub(r"\.(\d+)", r"_\1", name[1:]).split(".")
    body = re.match(r"(conv_in|down_blocks|mid_block|up_blocks)", path[0])
    if part in ("reference", "denoiser") and body:
        path = ["body", *path]
    dense = ("proj_in", "proj_out", "final_proj")  # 1x1 convolutions upstream
    if value.ndim == 4 and path[-2] in dense:
        value = value[:, :, 0, 0]
    return _leaf(path, value)


def _leaf(path: list[str], value: np.ndarray) -> tuple[list[str], np.ndarray]:
    kind = path[-1]
    if kind == "weight" and value.ndim == 4:
        return [*path[:-1], "kernel"], value.transpose(2, 3, 1, 0)
    if kind == "weight" and value.ndim == 2:
        return [*path[:-1], "kernel"], value.T
    if kind == "weight":
        return [*path[:-1], "scale"], value
    names = {"running_mean": "mean", "running_var": "var"}
    return [*path[:-1], names.get(kind, kind)], value


def _pose_name(name: str) -> str:
    """.conv_layers_1.4.weight -> .conv_layers_1.norm.1.weight: indices count conv, norm and ReLU upstream."""
    match = re.fullmatch(r"\.(conv_layers(?:_\d)?)\.(\d+)\.(\w+)", name)
    if not match:
        return name
    stack, index, leaf = match[1], int(match[2]), match[3]
    return f".{stack}.{('conv', 'norm')[index % 3]}.{index // 3}.{leaf}"


def _clip_entry(key: str, value: np.ndarray) -> tuple[list[str], np.ndarray]:
    if key == "visual_projection.weight":
        return ["projection"], value.T
    path = ["tower", *key.split(".")]
    if path[-2] == "position_embedding":
        return [*path[:-1], "embedding"], value
    return _leaf(path, value)


def _check_positions(key: str, value: np.ndarray) -> None:
    """The temporal position table is a formula in this project; the file's must agree with it."""
    _, frames, channels = value.shape
    angles = np.arange(frames)[:, None] * 10000.0 ** (-np.arange(0, channels, 2) / channels)
    error = max(
        np.abs(value[0, :, 0::2] - np.sin(angles)).max(), np.abs(value[0, :, 1::2] - np.cos(angles)).max()
    )
    if error > 1e-4:
        raise ValueError(f"{key} is not the sinusoidal position table (off by {error:.1e}).")
