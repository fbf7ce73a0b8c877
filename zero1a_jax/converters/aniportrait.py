"""AniPortrait's checkpoint folder to the parameters of zero1a_jax.diffusion.

Every key of every file is used exactly once; one that is missing, left over or of the wrong shape is named
before any number is read. PyTorch layouts: convolutions OIHW, linear [out, in]. Neither torch nor diffusers
is needed: a .pth goes through the allow-list reader, which executes nothing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from zero1a_jax.converters import aniportrait_keys, tensor_files
from zero1a_jax.converters.aniportrait_keys import EXPECTED, IGNORED, Sizes
from zero1a_jax.converters.pickles.pickled import BadFile
from zero1a_jax.errors import Refused

PARTS = {
    "reference": ("reference_unet",),
    "denoiser": ("motion_module", "denoising_unet"),  # the second wins where both have a key, as published
    "pose_guider": ("pose_guider",),
    "vae": ("vae",),
    "image_encoder": ("image_encoder",),
}
PLACES = {  # of files in the folder, beside their own names; each with any suffix of tensor_files
    "vae": ("sd-vae-ft-mse/diffusion_pytorch_model", "vae/diffusion_pytorch_model"),
    "image_encoder": ("image_encoder/model", "image_encoder/pytorch_model"),
}
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
CONVERTED = "zero1a_jax diffusion 1"  # "format" in the config.json of a converted folder

RENAMES = (
    (".temporal_transformer.", "."),
    (".transformer_blocks.0.", ".block."),
    (".to_out.0.", ".to_out."),
    (".ff.net.0.proj.", ".ff.proj."),
    (".ff.net.2.", ".ff.out."),
)
VAE_NAMES = (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn"))

Tensors = dict[str, np.ndarray]


def load(folder: str | os.PathLike) -> dict:
    """The parameter tree of a folder: AniPortrait's files as float32, or what `convert` wrote, as it is.

    AniPortrait's layout: reference_unet, denoising_unet, motion_module and pose_guider as .pth or
    .safetensors, the folders image_encoder and sd-vae-ft-mse (or files image_encoder and vae beside the
    others). Where a file is there in both formats, .safetensors is read.

    Raises:
      BadFile (a ValueError): a file or key is missing, left over, damaged or of another shape.
    """
    folder = Path(folder)
    converted = is_converted(folder)
    parts = _converted(folder) if converted else _parts(*_open(folder))
    tree: dict = {}
    for part, tensors in parts.items():
        for path, value in tensors.items():
            *places, name = part, *path.split("/")
            node = tree
            for place in places:
                node = node.setdefault(place, {})
            node[name] = np.array(value, value.dtype if converted else np.float32, order="C")
            tensor_files.release(value)
    return tree


def sizes(folder: str | os.PathLike) -> Sizes:
    """The sizes of the model in a folder, which `load` reads. Raises as `load`."""
    folder = Path(folder)
    return _stored_sizes(folder) if is_converted(folder) else _open(folder)[0]


def files(folder: str | os.PathLike) -> list[Path]:
    """The files with numbers that `load` reads. Raises BadFile where one is missing."""
    folder = Path(folder)
    if is_converted(folder):
        return [folder / f"{part}.safetensors" for part in PARTS]
    return list(_find(folder).values())


def is_converted(folder: str | os.PathLike) -> bool:
    """Whether `convert` wrote the folder."""
    return _config(Path(folder) / "config.json").get("format") == CONVERTED


def convert(
    folder: str | os.PathLike,
    out: str | os.PathLike,
    *,
    dtype: str = "float32",
    say: Callable[[str], Any] = print,
) -> None:
    """Writes the parameters of AniPortrait's folder to `out`, one .safetensors file a part, for `load`.

    Args:
      folder: as for `load`.
      out: a folder that is new or empty.
      dtype: number type of all weights with two or more axes, a key of DTYPES; the rest stays float32.
      say: gets a line for each part.

    Memory: one tensor at a time. Raises BadFile as `load`, and ValueError for `out`.
    """
    folder, out = Path(folder), Path(out)
    if is_converted(folder):
        raise Refused(f"{folder} is converted already")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Refused(f"{out} is there already and not empty: give another folder")
    if dtype not in DTYPES:
        raise Refused(f"there is no number type {dtype}; choose one of {', '.join(DTYPES)}")

    def kind(tensor: np.ndarray) -> np.dtype:
        return np.dtype(DTYPES[dtype] if tensor.ndim > 1 else np.float32)

    found, opened = _open(folder)
    parts = _parts(found, opened)
    size = sum(tensor.size * kind(tensor).itemsize for part in parts.values() for tensor in part.values())
    place = out.absolute()
    while not place.exists():
        place = place.parent
    if shutil.disk_usage(place).free < size * 1.01 + (64 << 20):
        raise Refused(f"{place} has no room for the {size >> 20} MiB of the converted model")
    out.mkdir(parents=True, exist_ok=True)
    for number, (part, tensors) in enumerate(parts.items(), 1):
        begin = time.monotonic()
        written = tensor_files.write(out / f"{part}.safetensors", tensors, kind)
        seconds = time.monotonic() - begin
        say(f"{number} of {len(parts)}: {part}, {len(tensors)} tensors, {written >> 20} MiB, {seconds:.0f} s")
    about = {"format": CONVERTED, "sizes": dataclasses.asdict(found)}
    (out / ".config.json.part").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    os.replace(out / ".config.json.part", out / "config.json")  # last: it marks a whole folder


def shapes(sizes: Sizes) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shape of every parameter by its path, "a/b/c", for each part: what `load` gives for those sizes."""
    blank = {name: _blank(expected(sizes)) for name, expected in EXPECTED.items()}
    return {part: {p: v.shape for p, v in t.items()} for part, t in _parts(sizes, blank, known=False).items()}


def check(tree: dict, like: dict, path: str = "") -> None:
    """Raises Refused unless `tree` has exactly the names and shapes of `like` (a tree from `init`)."""
    if set(tree) != set(like):
        missing, extra = sorted(set(like) - set(tree)), sorted(set(tree) - set(like))
        raise Refused(f"at {path or '/'}: missing {missing}, not expected {extra}; do file and config agree?")
    for name, value in tree.items():
        if isinstance(value, dict):
            check(value, like[name], f"{path}/{name}")
        elif tuple(value.shape) != tuple(like[name].shape):
            raise Refused(f"{path}/{name} is {value.shape}, the config wants {tuple(like[name].shape)}.")


def _blank(wanted: Mapping[str, tuple[int, ...]]) -> Tensors:
    """Arrays of those shapes that take no memory."""
    return {key: np.broadcast_to(np.float32(0), shape) for key, shape in wanted.items()}


def _open(folder: Path) -> tuple[Sizes, dict[str, Tensors]]:
    """The sizes and the checked tensors of the six files, with keys as current diffusers names them."""
    found, opened = _find(folder), {}
    for name, path in found.items():
        tensors = tensor_files.read(path)
        opened[name] = {key: value for key, value in tensors.items() if not key.endswith(IGNORED)}
    opened["vae"] = _vae_as_today(found["vae"], opened["vae"])
    known = {name: {key: value.shape for key, value in tensors.items()} for name, tensors in opened.items()}
    try:
        sizes = aniportrait_keys.read_sizes(known, _settings(folder, found))
    except BadFile as error:
        raise BadFile(f"{folder}: {error}") from error
    for name, tensors in opened.items():
        wanted = EXPECTED[name](sizes)
        if name == "denoising_unet":  # may bring motion modules of its own
            motion = EXPECTED["motion_module"](sizes)
            wanted |= {key: motion[key] for key in tensors if key in motion}
        tensor_files.check(found[name], tensors, wanted)
    return sizes, opened


def _find(folder: Path) -> dict[str, Path]:
    """The paths of the six files."""
    if not folder.is_dir():
        raise BadFile(f"there is no folder {folder}")
    found = {}
    for name in EXPECTED:
        path = tensor_files.find(folder, (name, *PLACES.get(name, ())))
        if path is None:
            raise BadFile(f"{folder / name} is missing: the model needs it as .safetensors or .pth")
        found[name] = path
    return found


def _settings(folder: Path, found: Mapping[str, Path]) -> dict[str, dict]:
    """What config.json says of each file: in its own folder, or a section of the common one."""
    whole = _config(folder / "config.json")
    settings = {name: whole[name] for name in EXPECTED if isinstance(whole.get(name), dict)} | {"unet": whole}
    for name in PLACES:
        if found[name].parent != folder:
            own = _config(found[name].parent / "config.json")
            settings[name] = settings.get(name, {}) | own | own.get("vision_config", {})
    return settings


def _config(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8")) if path.stat().st_size < 1 << 20 else None
    except ValueError as error:
        raise BadFile(f"{path} is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise BadFile(f"{path} holds no settings")
    return content


def _vae_as_today(path: Path, tensors: Tensors) -> Tensors:
    """Attention of old files, query, key, value and proj_attn, under today's names and as matrices."""
    renamed: Tensors = {}
    for key, value in tensors.items():
        for new, old in VAE_NAMES:
            key = key.replace(f".attentions.0.{old}.", f".attentions.0.{new}.")
        if re.search(r"\.attentions\.0\.to_\w+(\.0)?\.weight$", key) and value.shape[2:] == (1, 1):
            value = value[:, :, 0, 0]
        if key in renamed:
            raise BadFile(f"{path} has {key} under two names")
        renamed[key] = value
    return renamed


def _parts(sizes: Sizes, files: Mapping[str, Tensors], *, known: bool = True) -> dict[str, Tensors]:
    """Our parameters by path, views of the files' tensors. Position tables are compared where `known`."""
    parts: dict[str, Tensors] = {}
    for part, names in PARTS.items():
        merged = {key: value for name in names for key, value in files[name].items()}
        parts[part] = {}
        for key, value in merged.items():
            if key.endswith("pos_encoder.pe"):
                if known:
                    _check_positions(key, value)
                continue
            path, value = _entry(part, key, value)
            parts[part]["/".join(path)] = value
    channels = (sizes.latent_channels,)
    parts["vae"] = {f"network/{path}": value for path, value in parts["vae"].items()}
    parts["vae"] |= {"mean": np.zeros(channels, np.float32)}
    parts["vae"] |= {"std": np.full(channels, 1 / sizes.latent_scale, np.float32)}
    return parts


def _entry(part: str, key: str, value: np.ndarray) -> tuple[list[str], np.ndarray]:
    if part == "image_encoder":
        return _clip_entry(key, value)
    name = "." + key
    for old, new in RENAMES:
        name = name.replace(old, new)
    if part == "vae":
        for new, old in VAE_NAMES:
            name = name.replace(f".{new.removesuffix('.0')}.", f".{old}.")
    if part == "pose_guider":
        name = _pose_name(name)
    name = name.replace(".block.norm2.", ".block.attn2.norm.")
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
    numbers = value[0].astype(np.float64)
    waves = (numbers[:, 0::2] - np.sin(angles), numbers[:, 1::2] - np.cos(angles))
    error = max(np.abs(wave).max() for wave in waves)
    if not error <= 1e-4:
        raise BadFile(f"{key} is not the sinusoidal position table (off by {error:.1e})")


def _stored_sizes(folder: Path) -> Sizes:
    stored = _config(folder / "config.json").get("sizes") or {}
    wanted = {field.name: type(field.default) for field in dataclasses.fields(Sizes)}
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    if {name: type(value) for name, value in values.items()} != wanted:
        raise BadFile(f"{folder / 'config.json'} has other sizes than this version writes: convert again")
    return Sizes(**values)


def _converted(folder: Path) -> dict[str, Tensors]:
    """The checked parameters by path of a folder that `convert` wrote."""
    parts = {}
    for part, wanted in shapes(_stored_sizes(folder)).items():
        parts[part] = tensor_files.read(folder / f"{part}.safetensors")
        tensor_files.check(folder / f"{part}.safetensors", parts[part], wanted)
    return parts
