"""AniPortrait's folder in either file format; the numbers' meaning is tests/diffusion/test_parity.py's."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from third_party.converters import aniportrait

R = np.random.default_rng(0)
TENSORS = {
    "reference_unet": {"conv_in.weight": R.normal(size=(2, 3, 3, 3)), "conv_in.bias": R.normal(size=2)},
    "denoising_unet": {"conv_norm_out.weight": R.normal(size=4)},
    "motion_module": {"down_blocks.0.motion_modules.0.temporal_transformer.proj_in.bias": R.normal(size=4)},
    "pose_guider": {"conv_layers.1.running_mean": R.normal(size=3), "scale": R.normal(size=1)},
    "vae": {"post_quant_conv.bias": R.normal(size=4)},
    "image_encoder": {"visual_projection.weight": R.normal(size=(3, 5))},
}
TENSORS = {part: {k: v.astype(np.float32) for k, v in some.items()} for part, some in TENSORS.items()}


def write_pth(path, tensors, pickles):
    kept, entries = {}, {}
    for i, (key, value) in enumerate(tensors.items()):
        strides = tuple(s // value.itemsize for s in value.strides)
        source = pickles.storage(str(i), "FloatStorage", value.size)
        entries[key] = pickles.tensor(source, 0, value.shape, strides)
        kept[str(i)] = value.tobytes()
    path.write_bytes(pickles.torch_new(pickles.mapping(**entries), kept))


def test_pth_and_safetensors_give_the_same_tree(pickles, tmp_path):
    for kind in ("safe", "torch"):
        (tmp_path / kind).mkdir()
    for part, tensors in TENSORS.items():
        save_file(tensors, tmp_path / "safe" / f"{part}.safetensors")
        write_pth(tmp_path / "torch" / f"{part}.pth", tensors, pickles)
    safe, torch = (aniportrait.load(tmp_path / kind) for kind in ("safe", "torch"))
    kernel = torch["reference"]["body"]["conv_in"]["kernel"]
    np.testing.assert_array_equal(kernel, TENSORS["reference_unet"]["conv_in.weight"].transpose(2, 3, 1, 0))

    def same(a, b):
        assert type(a) is type(b)
        if isinstance(a, dict):
            assert sorted(a) == sorted(b)
            for key in a:
                same(a[key], b[key])
        else:
            np.testing.assert_array_equal(a, b)

    same(safe, torch)


def test_what_is_missing_or_no_checkpoint_is_named(pickles, tmp_path):
    for part, tensors in list(TENSORS.items())[:-1]:
        save_file(tensors, tmp_path / f"{part}.safetensors")
    with pytest.raises(ValueError, match="image_encoder is missing"):
        aniportrait.load(tmp_path)
    other = pickles.torch_new(pickles.mapping(epoch=pickles.number(3)), {})
    (tmp_path / "image_encoder.pth").write_bytes(other)
    with pytest.raises(ValueError, match="something else than named tensors"):
        aniportrait.load(tmp_path)
