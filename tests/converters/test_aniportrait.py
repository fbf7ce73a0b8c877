"""AniPortrait's folder in all its forms; the numbers' meaning is tests/diffusion/test_parity.py's."""

import gzip
import json
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from zero1a_jax.converters import aniportrait
from zero1a_jax.converters.aniportrait_keys import EXPECTED, IGNORED, Sizes, read_sizes
from zero1a_jax.converters.pickles.pickled import BadFile

SMALL = Sizes(
    vae_channels=(8, 16),
    vae_layers=1,
    vae_groups=4,
    unet_channels=(8, 16),
    unet_layers=1,
    unet_heads=2,
    down_attention=(True, False),
    up_attention=(True, False),
    groups=4,
    context_channels=12,
    motion_levels=(True, True),
    motion_heads=4,
    motion_frames=6,
    pose_heads=3,
    pose_head_channels=4,
    clip_size=28,
    clip_channels=8,
    clip_feedforward=16,
    clip_layers=2,
    clip_heads=2,
)
CONFIGS = {  # in the words of diffusers and transformers
    "": {
        "norm_num_groups": 4,
        "attention_head_dim": 2,
        "motion_module": {"num_attention_heads": 4},
        "pose_guider": {"num_attention_heads": 3, "attention_head_dim": 4},
    },
    "vae": {"norm_num_groups": 4, "scaling_factor": 0.18215},
    "image_encoder": {"num_attention_heads": 2, "hidden_act": "quick_gelu"},
}
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def table(shape):
    """The sinusoidal positions [1, frames, width]."""
    _, frames, width = shape
    angles = np.arange(frames)[:, None] / 10000.0 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(shape)


@pytest.fixture(scope="module")
def tensors():
    rng = np.random.default_rng(0)
    return {
        name: {
            key: (table(shape) if key.endswith(".pe") else rng.normal(size=shape)).astype(np.float32)
            for key, shape in expected(SMALL).items()
        }
        for name, expected in EXPECTED.items()
    }


def write_flat(folder, tensors):
    folder.mkdir()
    for name, some in tensors.items():
        save_file(some, folder / f"{name}.safetensors")
    sections = {name: config for name, config in CONFIGS.items() if name}
    (folder / "config.json").write_text(json.dumps(CONFIGS[""] | sections))
    return folder


def write_pth(path, tensors, pickles):
    kept, entries = {}, {}
    for i, (key, value) in enumerate(tensors.items()):
        kind = {"f": "FloatStorage", "i": "LongStorage"}[value.dtype.kind]
        strides = tuple(s // value.itemsize for s in value.strides)
        entries[key] = pickles.tensor(pickles.storage(str(i), kind, value.size), 0, value.shape, strides)
        kept[str(i)] = value.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickles.torch_new(pickles.mapping(**entries), kept))


def write_published(folder, tensors, pickles):
    """As the release is laid out: .pth beside each other, two folders; the oldest names and forms."""
    for name in ("reference_unet", "denoising_unet", "motion_module"):
        write_pth(folder / f"{name}.pth", tensors[name], pickles)
    counters = {f"conv_layers.{3 * i + 1}.num_batches_tracked": np.array(5) for i in range(8)}
    write_pth(folder / "pose_guider.pth", tensors["pose_guider"] | counters, pickles)
    vae = {}
    for key, value in tensors["vae"].items():
        for new, old in OLD.items():
            if f".attentions.0.{new}." in key:
                key = key.replace(new, old)
                value = value[:, :, None, None] if value.ndim == 2 else value
        vae[key] = value
    (folder / "sd-vae-ft-mse").mkdir()
    save_file(vae, folder / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors")
    positions = {"vision_model.embeddings.position_ids": np.arange(5)[None]}
    write_pth(folder / "image_encoder" / "pytorch_model.bin", tensors["image_encoder"] | positions, pickles)
    for place, name in (("", ""), ("sd-vae-ft-mse", "vae"), ("image_encoder", "image_encoder")):
        (folder / place / "config.json").write_text(json.dumps(CONFIGS[name]))
    return folder


def leaves(tree, path=""):
    for name, value in tree.items():
        yield from leaves(value, f"{path}/{name}") if isinstance(value, dict) else [(f"{path}/{name}", value)]


def same(a, b):
    a, b = dict(leaves(a)), dict(leaves(b))
    assert sorted(a) == sorted(b)
    for path in a:
        np.testing.assert_array_equal(a[path], b[path], err_msg=path)


def test_keys_of_the_published_files():
    """The six lists of the published model, written down from the original code."""
    lists = json.loads(gzip.decompress(Path(__file__).with_name("aniportrait_keys.json.gz").read_bytes()))
    files = {}
    for name, expected in EXPECTED.items():
        files[name] = {k: tuple(shape) for k, shape in lists[name].items() if not k.endswith(IGNORED)}
        assert files[name] == dict(expected(Sizes())), name
    assert read_sizes(files, {}) == Sizes()


def test_published_layout_and_flat_files_give_the_same_tree(tensors, pickles, tmp_path):
    flat = write_flat(tmp_path / "flat", tensors)
    published = write_published(tmp_path / "published", tensors, pickles)
    assert aniportrait.sizes(flat) == aniportrait.sizes(published) == SMALL
    tree = aniportrait.load(published)
    same(aniportrait.load(flat), tree)
    kernel = tree["reference"]["body"]["conv_in"]["kernel"]
    np.testing.assert_array_equal(kernel, tensors["reference_unet"]["conv_in.weight"].transpose(2, 3, 1, 0))
    query = tree["vae"]["network"]["encoder"]["mid_block"]["attentions_0"]["query"]["kernel"]
    key = "encoder.mid_block.attentions.0.to_q.weight"
    np.testing.assert_array_equal(query, tensors["vae"][key].T)
    shapes = aniportrait.shapes(SMALL)
    found = {path: value.shape for path, value in leaves(tree)}
    assert found == {f"/{part}/{p}": shape for part, some in shapes.items() for p, shape in some.items()}
    assert {path.parent.name for path in aniportrait.files(published)} == {
        "published",
        "sd-vae-ft-mse",
        "image_encoder",
    }


def test_every_number_has_one_place(tensors, pickles, tmp_path):
    """Each element of each file is in the tree once: keys are numbered, and the numbers counted."""
    numbered, at = {}, 0
    for name, some in tensors.items():
        numbered[name] = {}
        for key, value in some.items():
            numbered[name][key] = np.full(value.shape, at, np.float32)
            if key.endswith(".pe"):
                numbered[name][key] = value
            else:
                at += 1
    tree = aniportrait.load(write_flat(tmp_path / "flat", numbered))
    seen = [int(v.flat[0]) for path, v in leaves(tree) if path not in ("/vae/mean", "/vae/std")]
    assert sorted(seen) == list(range(at))


def test_the_denoising_file_wins(tensors, tmp_path):
    key = "mid_block.motion_modules.0.temporal_transformer.proj_in.bias"
    other = np.full_like(tensors["motion_module"][key], 7)
    changed = tensors | {"denoising_unet": tensors["denoising_unet"] | {key: other}}
    tree = aniportrait.load(write_flat(tmp_path / "flat", changed))
    motion = tree["denoiser"]["body"]["mid_block"]["motion_modules_0"]
    np.testing.assert_array_equal(motion["proj_in"]["bias"], other)


FAULTS = {
    "reference_unet": "down_blocks.1.resnets.0.conv2.bias",
    "denoising_unet": "up_blocks.1.attentions.1.transformer_blocks.0.attn2.to_k.weight",
    "motion_module": "up_blocks.0.motion_modules.1.temporal_transformer.norm.weight",
    "pose_guider": "conv_layers_1.4.running_var",
    "vae": "decoder.conv_in.weight",
    "image_encoder": "vision_model.encoder.layers.1.mlp.fc1.bias",
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_a_wrong_key_is_named(name, fault, tensors, tmp_path):
    some, key = dict(tensors[name]), FAULTS[name]
    if fault == "missing":
        del some[key]
    elif fault == "extra":
        some[key := "lora.up"] = np.zeros(3, np.float32)
    else:
        some[key] = np.concatenate([some[key], some[key]])
    folder = write_flat(tmp_path / "flat", tensors | {name: some})
    for action in (aniportrait.load, aniportrait.sizes, lambda f: aniportrait.convert(f, tmp_path / "out")):
        with pytest.raises(BadFile) as caught:
            action(folder)
        text = str(caught.value)
        verb = {"missing": "lacks", "extra": "has the unknown", "shape": "has"}[fault]
        assert f"{name}.safetensors {verb} {key}" in text and "more" not in text and "\n" not in text
    assert not (tmp_path / "out").exists()


def test_what_is_no_checkpoint_is_refused(tensors, pickles, tmp_path):
    folder = write_flat(tmp_path / "flat", tensors)
    (folder / "vae.safetensors").rename(folder / "old")
    with pytest.raises(BadFile, match="vae is missing"):
        aniportrait.load(folder)
    (folder / "vae.pth").write_bytes(pickles.torch_new(pickles.mapping(epoch=pickles.number(3)), {}))
    with pytest.raises(BadFile, match="something else than named tensors"):
        aniportrait.load(folder)
    data = (folder / "old").read_bytes()
    for damaged in (b"", data[:100], data[:-9], b"\xff" * 40):
        (folder / "vae.safetensors").write_bytes(damaged)
        with pytest.raises(BadFile, match=r"vae\.safetensors is damaged"):
            aniportrait.load(folder)
    with pytest.raises(BadFile, match="there is no folder"):
        aniportrait.load(tmp_path / "none")


@pytest.mark.parametrize(
    "config, words",
    [
        ("{}", r"do not divide into 32 groups"),
        ('{"norm_num_groups": "x"}', "norm_num_groups 'x'"),
        ('{"image_encoder": {"hidden_act": "tanh"}}', "hidden_act 'tanh'"),
        ("[]", "holds no settings"),
        ("{", "is no JSON"),
    ],
)
def test_configs_that_do_not_fit(config, words, tensors, tmp_path):
    folder = write_flat(tmp_path / "flat", tensors)
    (folder / "config.json").write_text(config)
    with pytest.raises(BadFile, match=words):
        aniportrait.load(folder)


def test_another_position_table_is_refused(tensors, tmp_path):
    key = next(key for key in tensors["motion_module"] if key.endswith(".pe"))
    changed = tensors["motion_module"] | {key: tensors["motion_module"][key][:, ::-1].copy()}
    with pytest.raises(BadFile, match="not the sinusoidal position table"):
        aniportrait.load(write_flat(tmp_path / "flat", tensors | {"motion_module": changed}))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_converted_folder(dtype, tensors, pickles, tmp_path):
    published, out, lines = write_published(tmp_path / "published", tensors, pickles), tmp_path / "out", []
    aniportrait.convert(published, out, dtype=dtype, say=lines.append)
    assert len(lines) == 5 and "5 of 5: image_encoder" in lines[-1]
    assert aniportrait.sizes(out) == SMALL
    truth, found = dict(leaves(aniportrait.load(published))), dict(leaves(aniportrait.load(out)))
    assert sorted(truth) == sorted(found)
    small = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16}[dtype]
    for path, value in found.items():
        assert value.dtype == (small if value.ndim > 1 else np.float32), path
        np.testing.assert_array_equal(value, truth[path].astype(value.dtype), err_msg=path)
    if dtype != "bfloat16":  # the library reads what we write
        stored = load_file(out / "vae.safetensors")
        np.testing.assert_array_equal(stored["std"], found["/vae/std"])
    for source, target in ((published, out), (out, tmp_path / "other")):
        with pytest.raises(ValueError, match="already"):
            aniportrait.convert(source, target)
    stored = load_file(out / "pose_guider.safetensors") if dtype != "bfloat16" else {}
    stored.pop("scale", None)
    save_file(stored, out / "pose_guider.safetensors")
    with pytest.raises(BadFile, match=r"pose_guider\.safetensors lacks (scale|.* more)"):
        aniportrait.load(out)


def test_converting_holds_one_tensor_at_a_time(tensors, tmp_path):
    """A folder of several megabytes; the full size is tests/diffusion/test_full_size.py's."""
    wide = Sizes(**{**SMALL.__dict__, "unet_channels": (96, 192), "vae_channels": (32, 64)})
    rng = np.random.default_rng(0)
    big = {
        name: {
            k: (table(shape) if k.endswith(".pe") else rng.normal(size=shape)).astype(np.float32)
            for k, shape in expected(wide).items()
        }
        for name, expected in EXPECTED.items()
    }
    folder = write_flat(tmp_path / "flat", big)
    largest = max(path.stat().st_size for path in folder.iterdir())
    whole = sum(path.stat().st_size for path in folder.iterdir())
    tracemalloc.start()
    aniportrait.convert(folder, tmp_path / "out", say=lambda line: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert whole > 2 * largest > 2e7 and peak < 0.5 * largest, (peak, largest, whole)
