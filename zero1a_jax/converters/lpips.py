"""LPIPS with VGG16: torchvision's network and the published linear layers, to zero1a_jax.image.losses.

Two files in a folder, or one .safetensors that `convert` made of them. Widths come from the shapes.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from zero1a_jax.converters import tensor_files
from zero1a_jax.errors import Refused

# Indices of the 13 convolutions in torchvision's `features`; ReLU and pooling take the others.
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
LAST = (3, 8, 15, 22, 29)  # of each of the five blocks: the ReLU whose output is compared
VGG = ("vgg16-397923af", "vgg16")
LINEAR = ("vgg", "lpips_vgg", "lpips")
Weights = dict[str, list[np.ndarray]]


def load(path: str | os.PathLike) -> Weights:
    """LPIPS's weights, float32: {"kernels": 13 of [3, 3, C_in, C_out], "biases": 13, "linear": 5 of [C]}.

    Args:
      path: a folder with vgg16-397923af (or vgg16) and vgg (or lpips), each as .pth or .safetensors, as
        torchvision and LPIPS 0.1 publish them; or a file that `convert` wrote.

    Raises:
      FileNotFoundError: a file is missing.
      BadFile (a ValueError): a tensor is missing, left over or of another shape; the text names it.
    """
    path = Path(path)
    if not path.is_dir():
        return _converted(path)
    files = {}
    for what, stems in (("VGG16", VGG), ("the linear layers", LINEAR)):
        found = tensor_files.find(path, stems)
        if found is None:
            raise FileNotFoundError(f"{path} lacks {stems[0]}.pth, {what} of LPIPS")
        files[what] = found
    network = tensor_files.read(files["VGG16"])
    # The classifier comes after the last feature and is not used.
    features = {key: value for key, value in network.items() if not key.startswith("classifier.")}
    linear = tensor_files.read(files["the linear layers"])
    widths = [_length(features.get(f"features.{i}.bias")) for i in CONVOLUTIONS]
    before = [3, *widths[:-1]]
    wanted = {}
    for index, entry, width in zip(CONVOLUTIONS, before, widths, strict=True):
        wanted |= {f"features.{index}.weight": (width, entry, 3, 3), f"features.{index}.bias": (width,)}
    tensor_files.check(files["VGG16"], features, wanted)
    ends = [widths[sum(index < last for index in CONVOLUTIONS) - 1] for last in LAST]
    names = [f"lin{i}.model.1.weight" for i in range(5)]
    wanted = {name: (1, width, 1, 1) for name, width in zip(names, ends, strict=True)}
    tensor_files.check(files["the linear layers"], linear, wanted)
    return {
        "kernels": [_copy(features[f"features.{i}.weight"].transpose(2, 3, 1, 0)) for i in CONVOLUTIONS],
        "biases": [_copy(features[f"features.{i}.bias"]) for i in CONVOLUTIONS],
        "linear": [_copy(linear[name][0, :, 0, 0]) for name in names],
    }


def convert(path: str | os.PathLike, out: str | os.PathLike) -> int:
    """Writes what `load` gives as one .safetensors file, of which the bytes are returned.

    Raises as `load`, and ValueError where `out` is there already or has another suffix.
    """
    out = Path(out)
    if out.suffix != ".safetensors" or out.exists():
        raise Refused(f"{out} is there already, or no .safetensors file: give another name")
    flat = {f"{name}.{i}": value for name, values in load(path).items() for i, value in enumerate(values)}
    return tensor_files.write(out, flat, lambda tensor: np.dtype(np.float32))


def _converted(path: Path) -> Weights:
    found = tensor_files.read(path)
    widths = [_length(found.get(f"biases.{i}")) for i in range(len(CONVOLUTIONS))]
    wanted: dict[str, tuple[int, ...]] = {f"biases.{i}": (width,) for i, width in enumerate(widths)}
    for i, (entry, width) in enumerate(zip([3, *widths[:-1]], widths, strict=True)):
        wanted[f"kernels.{i}"] = (3, 3, entry, width)
    for block, last in enumerate(LAST):
        wanted[f"linear.{block}"] = (widths[sum(index < last for index in CONVOLUTIONS) - 1],)
    tensor_files.check(path, found, wanted)
    counts = (("kernels", len(CONVOLUTIONS)), ("biases", len(CONVOLUTIONS)), ("linear", len(LAST)))
    return {name: [_copy(found[f"{name}.{i}"]) for i in range(count)] for name, count in counts}


def _length(bias: np.ndarray | None) -> int:
    """Channels of a layer; 0, which fits nothing, where the file lacks it."""
    return bias.size if bias is not None else 0


def _copy(value: np.ndarray) -> np.ndarray:
    return np.array(value, np.float32, order="C")
