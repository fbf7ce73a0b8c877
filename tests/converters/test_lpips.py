"""LPIPS's two published files to our weights; agreement with PyTorch's LPIPS on random ones of true size.

The stored numbers are those of the package lpips 0.1.4 with torch 2.13 on a CPU in float64, with the weights
that `weights` draws; what was drawn does not depend on numpy's version.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from zero1a_jax.converters import lpips
from zero1a_jax.converters.pickles.pickled import BadFile
from zero1a_jax.image import losses

WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
ENDS = (64, 128, 256, 512, 512)


def weights(widths=WIDTHS, ends=ENDS):
    """Tensors of VGG16 and of the linear layers under their published names."""
    rng, before, network = np.random.RandomState(4), 3, {}
    for i, width in zip(lpips.CONVOLUTIONS, widths, strict=True):
        scale = np.sqrt(2 / (9 * before))
        kernel = rng.standard_normal((width, before, 3, 3)) * scale
        network[f"features.{i}.weight"] = kernel.astype(np.float32)
        network[f"features.{i}.bias"] = (0.1 * rng.standard_normal(width)).astype(np.float32)
        before = width
    linear = {
        f"lin{i}.model.1.weight": rng.uniform(size=(1, width, 1, 1)).astype(np.float32)
        for i, width in enumerate(ends)
    }
    return network, linear


def write(folder, network, linear):
    folder.mkdir(exist_ok=True)
    classifier = {f"classifier.{i}.bias": np.zeros(4, np.float32) for i in (0, 3, 6)}
    save_file(network | classifier, folder / "vgg16-397923af.safetensors")
    save_file(linear, folder / "vgg.safetensors")
    return folder


def write_pth(path, tensors, pickles):
    """The older layout, in which the published linear layers come."""
    entries = {
        key: pickles.tensor(pickles.storage(str(i), "FloatStorage", v.size), 0, v.shape, (v.size, 1, 1, 1))
        for i, (key, v) in enumerate(tensors.items())
    }
    storages = {str(i): v.tobytes() for i, v in enumerate(tensors.values())}
    counts = {str(i): v.size for i, v in enumerate(tensors.values())}
    path.write_bytes(pickles.torch_old(pickles.mapping(**entries), storages, counts))


def test_agrees_with_pytorch(tmp_path):
    found = lpips.load(write(tmp_path / "lpips", *weights()))
    with np.load(Path(__file__).with_name("lpips.npz")) as stored:
        arrays = dict(stored)
    distance = jax.jit(losses.lpips)
    for name in ("even", "odd"):
        a, b = (jnp.asarray(arrays[f"{name}.{side}"], jnp.float32) / 255 for side in "ab")
        np.testing.assert_allclose(distance(found, a, b), arrays[f"{name}.distance"], rtol=2e-5)
        if name == "odd":  # each layer alone
            for layer in range(5):
                alone = [w * (i == layer) for i, w in enumerate(found["linear"])]
                value = distance(found | {"linear": alone}, a, b)
                np.testing.assert_allclose(value, arrays["odd.layers"][:, layer], rtol=5e-5)
    a, b = (jnp.asarray(arrays[f"even.{side}"], jnp.float32) / 255 for side in "ab")
    gradient = jax.jit(jax.grad(lambda x: losses.lpips(found, x, b).sum()))(a)
    truth = arrays["even.gradient"]
    assert np.abs(gradient - truth).max() <= 1e-3 * np.abs(truth).max()


@pytest.fixture
def small():
    return weights((4, 4, 5, 5, 6, 6, 6, 7, 7, 7, 8, 8, 8), (4, 5, 6, 7, 8))


def test_all_forms_give_the_same_weights(small, pickles, tmp_path):
    network, linear = small
    folder = write(tmp_path / "lpips", network, linear)
    wanted = lpips.load(folder)
    np.testing.assert_array_equal(wanted["kernels"][2], network["features.5.weight"].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(wanted["linear"][4], linear["lin4.model.1.weight"].ravel())
    (folder / "vgg.safetensors").unlink()
    write_pth(folder / "vgg.pth", linear, pickles)
    lpips.convert(folder, tmp_path / "one.safetensors")
    for form in (folder, tmp_path / "one.safetensors"):
        jax.tree.map(np.testing.assert_array_equal, lpips.load(form), wanted)
    with pytest.raises(ValueError, match="already"):
        lpips.convert(folder, tmp_path / "one.safetensors")


@pytest.mark.parametrize(
    "which, key, words",
    [
        (0, "features.19.weight", r"lacks features\.19\.weight"),
        (0, "features.5.weight", r"features\.5\.weight of shape \(5, 4, 3, 1\) instead of \(5, 4, 3, 3\)"),
        (0, "features.30.bias", r"has the unknown features\.30\.bias"),
        (1, "lin2.model.1.weight", r"lin2\.model\.1\.weight of shape \(1, 6, 1\) instead of \(1, 6, 1, 1\)"),
    ],
)
def test_a_wrong_key_is_named(which, key, words, small, tmp_path):
    if "lacks" in words:
        del small[which][key]
    elif "unknown" in words:
        small[which][key] = np.zeros(3, np.float32)
    else:
        small[which][key] = small[which][key][..., 0] if which else small[which][key][..., :1].copy()
    with pytest.raises(BadFile, match=words):
        lpips.load(write(tmp_path / "lpips", *small))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks vgg16-397923af\.pth"):
        lpips.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        lpips.load(tmp_path / "none.safetensors")
