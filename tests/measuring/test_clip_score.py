"""CLIP score: agreement with transformers' PyTorch model, and folders that are no CLIP."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from zero1a_jax.errors import Refused
from zero1a_jax.measuring import clip_score

# transformers 4.57.6's CLIPModel with torch 2.14 on a CPU, float32, and the weights that `weights` of
# clip_folder.py draws: cosines of picture(1) and picture(2), and of either with the sentence.
SENTENCE = "face of a man"
COSINES = (0.8376265, 0.4074853, 0.1616065)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip_folder):
    return clip_folder.write(tmp_path_factory.mktemp("clip"))


def test_agrees_with_pytorch(folder, clip_folder):
    judge = clip_score.judge(folder, SENTENCE)
    first, second = clip_folder.picture(1), clip_folder.picture(2)
    one, other = judge(first, second, None), judge(second, first, None)
    np.testing.assert_allclose([one["clip_image"], one["clip_text"], other["clip_text"]], COSINES, atol=2e-6)
    assert one["clip_image"] == pytest.approx(other["clip_image"], abs=1e-12)
    assert judge(first, first, None)["clip_image"] == pytest.approx(1.0, abs=1e-9)
    assert set(clip_score.judge(folder)(first, second, None)) == {"clip_image"}


@pytest.mark.parametrize(
    "missing", ["config.json", "model.safetensors", "preprocessor_config.json", "vocab.json"]
)
def test_a_missing_file_is_named(tmp_path, missing, clip_folder):
    (clip_folder.write(tmp_path / "clip") / missing).unlink()
    with pytest.raises(Refused, match=f"{missing}|tokenizer.json"):
        clip_score.judge(tmp_path / "clip")


def test_other_weights_are_refused(tmp_path, clip_folder):
    tensors = clip_folder.weights()
    del tensors["text_model.final_layer_norm.bias"]
    with pytest.raises(Refused, match=r"text_model\.final_layer_norm\.bias of shape nothing"):
        clip_score.judge(clip_folder.write(tmp_path / "less", tensors))
    wrong = clip_folder.weights() | {"text_projection.weight": np.zeros((12, 15), np.float32)}
    with pytest.raises(Refused, match=r"text_projection\.kernel of shape \(15, 12\)"):
        clip_score.judge(clip_folder.write(tmp_path / "wrong", wrong))
    folder = clip_folder.write(tmp_path / "vision")
    (folder / "config.json").write_text(json.dumps({"model_type": "clip_vision_model"}))
    with pytest.raises(Refused, match="text_config and a vision_config"):
        clip_score.judge(folder)


def test_position_ids_of_older_files_are_left_out(folder, tmp_path, clip_folder):
    old = load_file(folder / "model.safetensors")
    old["text_model.embeddings.position_ids"] = np.arange(20)[None]
    clip_score.judge(clip_folder.write(tmp_path / "old", old))
