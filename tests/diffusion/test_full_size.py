"""The published sizes, which the small fixtures cannot check, and files of that size in bounded memory."""

import dataclasses
import functools
import gzip
import json
import math
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from safetensors import safe_open

from zero1a_jax.converters import aniportrait
from zero1a_jax.converters.aniportrait_keys import IGNORED, Sizes
from zero1a_jax.diffusion import DiffusionConfig, image_encoder, vae
from zero1a_jax.diffusion.denoising_unet import DenoisingUNet
from zero1a_jax.diffusion.pose_guider import PoseGuider
from zero1a_jax.diffusion.reference_unet import ReferenceUNet

ROOT = Path(__file__).parents[2]
KEYS = json.loads(gzip.decompress((ROOT / "tests/converters/aniportrait_keys.json.gz").read_bytes()))
WIDTHS = (320, 640, 1280, 1280)


def test_the_default_config_is_the_published_model():
    c = DiffusionConfig()
    for name, value in dataclasses.asdict(Sizes()).items():
        assert getattr(c, name) == value, name
    assert (c.groups, c.vae_groups) == (32, 32)
    assert (c.unet_heads, c.motion_heads) == (8, 8)
    assert (c.pose_heads, c.pose_head_channels) == (16, 88)
    assert c.unet_channels == WIDTHS and c.vae_channels == (128, 256, 512, 512)
    assert (c.clip_heads, c.clip_layers, c.clip_channels) == (16, 24, 1024)
    assert (c.window, c.overlap, c.motion_frames, c.latent_scale) == (16, 4, 32, 0.18215)


def modules(c: DiffusionConfig):
    """Initialisation of each part, at 64 x 64 pixels: no parameter's shape depends on the frames' size."""
    key, side = jax.random.key(0), c.latent_size
    latents, context = jnp.zeros((1, side, side, 4)), jnp.zeros((1, 1, c.context_channels))
    sides = [side, side // 2, side // 4, side // 8, side // 8]
    pose = [jnp.zeros((1, 1, s, s, w)) for s, w in zip(sides, (320, *WIDTHS), strict=True)]
    levels = [0, 0, 1, 1, 2, 2, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0]
    bank = [jnp.zeros((1, (side >> i) ** 2, WIDTHS[i])) for i in levels]
    images = jnp.zeros((1, c.condition_size, c.condition_size, 3))
    flax = {
        "reference": lambda: ReferenceUNet(c).init(key, latents, context),
        "denoiser": lambda: DenoisingUNet(c).init(
            key, latents[:, None], jnp.zeros(1), context, bank, jnp.ones(1), pose
        ),
        "pose_guider": lambda: PoseGuider(c).init(key, images),
    }
    for part, init in flax.items():
        yield part, lambda init=init: init()["params"]
    yield "vae", functools.partial(vae.init, key, c)
    yield "image_encoder", functools.partial(image_encoder.init, key, c)


def test_each_tree_has_the_published_keys_and_shapes():
    """Flax's own initialisation against the names that the published keys become; nothing is allocated."""
    wanted = aniportrait.shapes(Sizes())
    for part, init in modules(DiffusionConfig(frame_size=64)):
        flat = traverse_util.flatten_dict(jax.eval_shape(init), sep="/")
        assert {path: leaf.shape for path, leaf in flat.items()} == wanted[part], part
        files = aniportrait.PARTS[part]
        buffers = (*IGNORED, "pos_encoder.pe")
        published = [s for f in files for key, s in KEYS[f].items() if not key.endswith(buffers)]
        extra = 2 if part == "vae" else 0  # our normalisation of the latents
        assert len(flat) == len(published) + extra
        count = sum(math.prod(leaf.shape) for leaf in flat.values())
        assert count == sum(map(math.prod, published)) + 4 * extra


def sparse_safetensors(path: Path, shapes: dict) -> None:
    """float32 zeros, of which only the header takes room on the disk; position tables are written out."""
    header, at = {}, 0
    for key, shape in shapes.items():
        end = at + 4 * math.prod(shape)
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
        for key, shape in shapes.items():
            if key.endswith(".pe"):
                file.seek(8 + len(text) + header[key]["data_offsets"][0])
                file.write(positions(shape).tobytes())


def sparse_pth(path: Path, shapes: dict, pickles) -> None:
    """The same as torch.save writes it: a zip archive of stored entries, with holes."""
    entries, files = {}, {}
    for i, (key, shape) in enumerate(shapes.items()):
        strides = tuple(math.prod(shape[j + 1 :]) for j in range(len(shape)))
        kind, item = ("LongStorage", 8) if key.endswith("num_batches_tracked") else ("FloatStorage", 4)
        source = pickles.storage(str(i), kind, math.prod(shape))
        entries[key] = pickles.tensor(source, 0, tuple(shape), strides)
        content = positions(shape).tobytes() if key.endswith(".pe") else None
        files[f"archive/data/{i}"] = (item * math.prod(shape), content)
    data = pickles.dump(pickles.mapping(**entries))
    with open(path, "wb") as file:
        directory = b""
        for name, (size, content) in {"archive/data.pkl": (len(data), data), **files}.items():
            at = file.tell()
            checksum = zlib.crc32(content) if content else 0
            head = struct.pack("<HHHHHIIIH", 20, 0, 0, 0, 0, checksum, size, size, len(name))
            file.write(b"PK\x03\x04" + head + b"\0\0" + name.encode())
            file.write(content) if content else file.seek(size, 1)
            directory += b"PK\x01\x02" + struct.pack("<H", 20) + head
            directory += struct.pack("<HHHHII", 0, 0, 0, 0, 0, at) + name.encode()
        at = file.tell()
        file.write(directory)
        count = len(files) + 1
        file.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), at, 0))


def positions(shape) -> np.ndarray:
    _, frames, width = shape
    angles = np.arange(frames)[:, None] / 10000.0 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(shape).astype(np.float32)


MEASURED = """
import resource, sys
from zero1a_jax.converters import aniportrait
aniportrait.convert(sys.argv[1], sys.argv[2], dtype="bfloat16", say=lambda line: print(line, flush=True))
print("peak", 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow  # reads 11 GB of holes and writes 5.5 GB
def test_files_of_full_size_are_converted_in_bounded_memory(tmp_path, pickles):
    """All of the process counts, mapped pages of the files too."""
    folder = tmp_path / "published"
    for place in (folder, folder / "sd-vae-ft-mse", folder / "image_encoder"):
        place.mkdir()
    for name in ("reference_unet", "motion_module", "pose_guider"):
        sparse_pth(folder / f"{name}.pth", KEYS[name], pickles)
    sparse_safetensors(folder / "denoising_unet.safetensors", KEYS["denoising_unet"])
    sparse_safetensors(folder / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors", KEYS["vae"])
    sparse_pth(folder / "image_encoder" / "pytorch_model.bin", KEYS["image_encoder"], pickles)
    largest = max(path.stat().st_size for path in folder.rglob("*"))
    assert largest > 3.4e9 and sum(512 * path.stat().st_blocks for path in folder.rglob("*")) < 2e7
    command = [sys.executable, "-c", MEASURED, str(folder), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-2000:]
    peak = int(done.stdout.split()[-1])
    print(f"peak {peak / 1e6:.0f} MB, {peak / largest:.3f} of the largest file")
    assert peak < 1.3 * largest
    for part, shapes in aniportrait.shapes(Sizes()).items():
        with safe_open(tmp_path / "out" / f"{part}.safetensors", "numpy") as file:
            assert {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()} == shapes  # noqa: SIM118
