"""A small CLIP model with random weights in a folder, as transformers publishes them. No PyTorch, no jax."""

import json

import numpy as np
from safetensors.numpy import save_file

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MERGES = ("f a", "fa c", "fac e</w>", "m a", "ma n</w>")
VOCABULARY = [*LETTERS, *(f"{c}</w>" for c in LETTERS), *(m.replace(" ", "") for m in MERGES)]
VOCABULARY += ["<|startoftext|>", "<|endoftext|>"]
CONFIG = {
    "architectures": ["CLIPModel"],
    "model_type": "clip",
    "projection_dim": 12,
    "text_config": {
        "vocab_size": len(VOCABULARY), "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 20, "hidden_act": "quick_gelu",
        "bos_token_id": len(VOCABULARY) - 2, "eos_token_id": len(VOCABULARY) - 1,
        "pad_token_id": len(VOCABULARY) - 1, "projection_dim": 12,
    },
    "vision_config": {
        "hidden_size": 20, "intermediate_size": 28, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 32, "patch_size": 8, "hidden_act": "quick_gelu", "projection_dim": 12,
    },
}  # fmt: skip
PROCESSOR = {
    "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True,
    "do_resize": True, "crop_size": {"height": 32, "width": 32}, "size": {"shortest_edge": 32}, "resample": 3,
    "rescale_factor": 1 / 255, "image_processor_type": "CLIPImageProcessor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
}  # fmt: skip


def weights():
    """Tensors under their published names. What is drawn does not depend on numpy's version."""
    rng, found = np.random.RandomState(8), {}

    def draw(name, *shape, around=0.0):
        scale = 0.5 if len(shape) < 2 else 1.5 / np.sqrt(np.prod(shape[1:]))
        found[name] = (around + scale * rng.standard_normal(shape)).astype(np.float32)

    def layer(name, *shape, bias=True):
        draw(f"{name}.weight", *shape)
        if bias:
            draw(f"{name}.bias", shape[0])

    def norm(name, width):
        draw(f"{name}.weight", width, around=1.0)
        draw(f"{name}.bias", width)

    text, vision = CONFIG["text_config"], CONFIG["vision_config"]
    for tower, part in (("text_model", text), ("vision_model", vision)):
        width, inner = part["hidden_size"], part["intermediate_size"]
        for i in range(part["num_hidden_layers"]):
            block = f"{tower}.encoder.layers.{i}"
            for which in ("k_proj", "v_proj", "q_proj", "out_proj"):
                layer(f"{block}.self_attn.{which}", width, width)
            norm(f"{block}.layer_norm1", width)
            norm(f"{block}.layer_norm2", width)
            layer(f"{block}.mlp.fc1", inner, width)
            layer(f"{block}.mlp.fc2", width, inner)
    draw("text_model.embeddings.token_embedding.weight", text["vocab_size"], text["hidden_size"])
    draw("text_model.embeddings.position_embedding.weight", 20, text["hidden_size"])
    norm("text_model.final_layer_norm", text["hidden_size"])
    draw("vision_model.embeddings.class_embedding", vision["hidden_size"])
    draw("vision_model.embeddings.patch_embedding.weight", vision["hidden_size"], 3, 8, 8)
    draw("vision_model.embeddings.position_embedding.weight", 17, vision["hidden_size"])
    norm("vision_model.pre_layrnorm", vision["hidden_size"])
    norm("vision_model.post_layernorm", vision["hidden_size"])
    layer("visual_projection", 12, vision["hidden_size"], bias=False)
    layer("text_projection", 12, text["hidden_size"], bias=False)
    found["logit_scale"] = np.array(2.6592, np.float32)
    return found


def write(folder, tensors=None):
    """The folder, with all its files."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors or weights(), folder / "model.safetensors", metadata={"format": "pt"})
    files = {
        "config.json": CONFIG,
        "preprocessor_config.json": PROCESSOR,
        "vocab.json": {token: k for k, token in enumerate(VOCABULARY)},
        "tokenizer_config.json": {"tokenizer_class": "CLIPTokenizer", "model_max_length": 20},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES]) + "\n")
    return folder


def picture(seed, height=40, width=48):
    """Smooth colours with some noise, in 0..1, [H, W, 3]."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width] / 40.0
    waves = [np.sin(3 * x + 5 * y * rng.uniform() + rng.uniform(0, 6)) for _ in range(3)]
    noise = 0.1 * rng.standard_normal((height, width, 3))
    return np.clip(0.5 + 0.4 * np.stack(waves, -1) + noise, 0, 1)
