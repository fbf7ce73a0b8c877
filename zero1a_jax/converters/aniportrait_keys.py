"""What AniPortrait's files hold: keys and shapes that follow from a model's sizes, and the sizes from them.

Shapes are PyTorch's: convolutions [out, in, height, width], linear layers [out, in]. Counters of batch norms
and the position ids of old CLIP files are left out.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from zero1a_jax.converters.pickles.pickled import BadFile

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
IGNORED = ("num_batches_tracked", "embeddings.position_ids")  # ends of keys without influence on the result
ACTIVATIONS = ("quick_gelu", "gelu")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes that files decide; names and defaults are those of zero1a_jax.diffusion.DiffusionConfig."""

    vae_channels: tuple[int, ...] = (128, 256, 512, 512)
    vae_layers: int = 2
    vae_groups: int = 32
    latent_channels: int = 4
    latent_scale: float = 0.18215
    unet_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    unet_layers: int = 2
    down_attention: tuple[bool, ...] = (True, True, True, False)
    up_attention: tuple[bool, ...] = (True, True, True, False)
    unet_heads: int = 8
    groups: int = 32
    context_channels: int = 768
    motion_levels: tuple[bool, ...] = (True, True, True, True)
    motion_heads: int = 8
    motion_attentions: int = 2
    motion_frames: int = 32
    pose_channels: tuple[int, ...] = (3, 16, 16, 32, 32, 64, 64, 128)
    pose_kernels: tuple[int, ...] = (3, 4, 3, 4, 3, 4, 3, 3)
    pose_heads: int = 16
    pose_head_channels: int = 88
    clip_size: int = 224
    clip_patch: int = 14
    clip_channels: int = 1024
    clip_feedforward: int = 4096
    clip_layers: int = 24
    clip_heads: int = 16
    clip_activation: str = "quick_gelu"


class _Keys(dict[str, Shape]):
    """Collects the keys of one file."""

    def layer(self, name: str, *shape: int, bias: bool = True) -> None:
        self[f"{name}.weight"] = shape
        if bias:
            self[f"{name}.bias"] = shape[:1]

    def norm(self, *names: str, width: int) -> None:
        for name in names:
            self.layer(name, width)

    def attention(self, name: str, width: int, context: int | None = None, *, biased: bool = False) -> None:
        self.layer(f"{name}.to_q", width, width, bias=biased)
        self.layer(f"{name}.to_k", width, context or width, bias=biased)
        self.layer(f"{name}.to_v", width, context or width, bias=biased)
        self.layer(f"{name}.to_out.0", width, width)

    def feedforward(self, name: str, width: int) -> None:
        self.layer(f"{name}.net.0.proj", 8 * width, width)
        self.layer(f"{name}.net.2", width, 4 * width)

    def resnet(self, name: str, before: int, width: int, time: int | None = None) -> None:
        self.norm(f"{name}.norm1", width=before)
        self.layer(f"{name}.conv1", width, before, 3, 3)
        if time:
            self.layer(f"{name}.time_emb_proj", width, time)
        self.norm(f"{name}.norm2", width=width)
        self.layer(f"{name}.conv2", width, width, 3, 3)
        if before != width:
            self.layer(f"{name}.conv_shortcut", width, before, 1, 1)

    def transformer(self, name: str, width: int, inner: int, context: int | None) -> None:
        block = f"{name}.transformer_blocks.0"
        self.norm(f"{name}.norm", width=width)
        self.layer(f"{name}.proj_in", inner, width, 1, 1)
        self.norm(f"{block}.norm1", f"{block}.norm3", width=inner)
        self.attention(f"{block}.attn1", inner)
        if context:
            self.norm(f"{block}.norm2", width=inner)
            self.attention(f"{block}.attn2", inner, context)
        self.feedforward(f"{block}.ff", inner)
        self.layer(f"{name}.proj_out", width, inner, 1, 1)


def reference_unet(sizes: Sizes) -> dict[str, Shape]:
    """Stable Diffusion 1.5's UNet without an output."""
    keys, widths = _Keys(), sizes.unet_channels
    time, top = 4 * widths[0], len(widths) - 1
    keys.layer("conv_in", widths[0], sizes.latent_channels, 3, 3)
    keys.layer("time_embedding.linear_1", time, widths[0])
    keys.layer("time_embedding.linear_2", time, time)
    before, skips = widths[0], [widths[0]]
    for level, width in enumerate(widths):
        for i in range(sizes.unet_layers):
            keys.resnet(f"down_blocks.{level}.resnets.{i}", before, width, time)
            if sizes.down_attention[level]:
                name = f"down_blocks.{level}.attentions.{i}"
                keys.transformer(name, width, width, sizes.context_channels)
            before = width
            skips.append(width)
        if level < top:
            keys.layer(f"down_blocks.{level}.downsamplers.0.conv", width, width, 3, 3)
            skips.append(width)
    for i in range(2):
        keys.resnet(f"mid_block.resnets.{i}", before, before, time)
    keys.transformer("mid_block.attentions.0", before, before, sizes.context_channels)
    for level in reversed(range(top + 1)):
        block, width = f"up_blocks.{top - level}", widths[level]
        for i in range(sizes.unet_layers + 1):
            keys.resnet(f"{block}.resnets.{i}", before + skips.pop(), width, time)
            if sizes.up_attention[level]:
                keys.transformer(f"{block}.attentions.{i}", width, width, sizes.context_channels)
            before = width
        if level:
            keys.layer(f"{block}.upsamplers.0.conv", width, width, 3, 3)
    return keys


def denoising_unet(sizes: Sizes) -> dict[str, Shape]:
    """The same with its output."""
    keys, width = _Keys(reference_unet(sizes)), sizes.unet_channels[0]
    keys.norm("conv_norm_out", width=width)
    keys.layer("conv_out", sizes.latent_channels, width, 3, 3)
    return keys


def motion_module(sizes: Sizes) -> dict[str, Shape]:
    """The temporal transformers; the position tables are [1, frames, width]."""
    keys, top = _Keys(), len(sizes.unet_channels) - 1
    places = [("mid_block.motion_modules.0", sizes.unet_channels[-1])]
    for level, width in enumerate(sizes.unet_channels):
        if sizes.motion_levels[level]:
            places += [(f"down_blocks.{level}.motion_modules.{i}", width) for i in range(sizes.unet_layers)]
            up = f"up_blocks.{top - level}.motion_modules"
            places += [(f"{up}.{i}", width) for i in range(sizes.unet_layers + 1)]
    for place, width in places:
        name = f"{place}.temporal_transformer"
        block = f"{name}.transformer_blocks.0"
        keys.norm(f"{name}.norm", f"{block}.ff_norm", width=width)
        keys.layer(f"{name}.proj_in", width, width)
        for i in range(sizes.motion_attentions):
            keys.norm(f"{block}.norms.{i}", width=width)
            keys.attention(f"{block}.attention_blocks.{i}", width)
            keys[f"{block}.attention_blocks.{i}.pos_encoder.pe"] = (1, sizes.motion_frames, width)
        keys.feedforward(f"{block}.ff", width)
        keys.layer(f"{name}.proj_out", width, width)
    return keys


def pose_guider(sizes: Sizes) -> dict[str, Shape]:
    """Stacks of convolution, batch norm, ReLU (so indices go in threes), and transformers between them."""
    keys, widths = _Keys(scale=(1,)), sizes.unet_channels

    def stack(name: str, before: int, channels: tuple[int, ...], kernels: tuple[int, ...]) -> int:
        for i, (width, kernel) in enumerate(zip(channels, kernels, strict=True)):
            keys.layer(f"{name}.{3 * i}", width, before, kernel, kernel)
            keys.norm(f"{name}.{3 * i + 1}", width=width)
            keys[f"{name}.{3 * i + 1}.running_mean"] = keys[f"{name}.{3 * i + 1}.running_var"] = (width,)
            before = width
        return before

    before = stack("conv_layers", 3, sizes.pose_channels, sizes.pose_kernels)
    keys.layer("final_proj", widths[0], before, 1, 1)
    before, inner = widths[0], sizes.pose_heads * sizes.pose_head_channels
    for i, width in enumerate(widths):
        channels = (before, width) if i + 1 < len(widths) else (width,)
        before = stack(f"conv_layers_{i + 1}", before, channels, (3,) * len(channels))
        keys.transformer(f"cross_attn{i + 1}", width, inner, None)
    return keys


def vae(sizes: Sizes) -> dict[str, Shape]:
    """The autoencoder, its attention named as by current diffusers."""
    keys, widths, latent = _Keys(), sizes.vae_channels, sizes.latent_channels

    def coder(name: str, blocks: str, entry: int, order: tuple[int, ...], layers: int, last: int) -> None:
        middle = widths[-1]
        keys.layer(f"{name}.conv_in", order[0], entry, 3, 3)
        before = order[0]
        for level, width in enumerate(order):
            for i in range(layers):
                keys.resnet(f"{name}.{blocks}_blocks.{level}.resnets.{i}", before, width)
                before = width
            if level + 1 < len(order):
                keys.layer(f"{name}.{blocks}_blocks.{level}.{blocks}samplers.0.conv", width, width, 3, 3)
        for i in range(2):
            keys.resnet(f"{name}.mid_block.resnets.{i}", middle, middle)
        keys.norm(f"{name}.mid_block.attentions.0.group_norm", width=middle)
        keys.attention(f"{name}.mid_block.attentions.0", middle, biased=True)
        keys.norm(f"{name}.conv_norm_out", width=before)
        keys.layer(f"{name}.conv_out", last, before, 3, 3)

    coder("encoder", "down", 3, widths, sizes.vae_layers, 2 * latent)
    coder("decoder", "up", latent, widths[::-1], sizes.vae_layers + 1, 3)
    keys.layer("quant_conv", 2 * latent, 2 * latent, 1, 1)
    keys.layer("post_quant_conv", latent, latent, 1, 1)
    return keys


def image_encoder(sizes: Sizes) -> dict[str, Shape]:
    """CLIP's vision tower and its projection."""
    keys, width, patch = _Keys(), sizes.clip_channels, sizes.clip_patch
    keys["vision_model.embeddings.class_embedding"] = (width,)
    keys.layer("vision_model.embeddings.patch_embedding", width, 3, patch, patch, bias=False)
    tokens = (sizes.clip_size // patch) ** 2 + 1
    keys.layer("vision_model.embeddings.position_embedding", tokens, width, bias=False)
    for i in range(sizes.clip_layers):
        name = f"vision_model.encoder.layers.{i}"
        for part in "qkv":
            keys.layer(f"{name}.self_attn.{part}_proj", width, width)
        keys.layer(f"{name}.self_attn.out_proj", width, width)
        keys.layer(f"{name}.mlp.fc1", sizes.clip_feedforward, width)
        keys.layer(f"{name}.mlp.fc2", width, sizes.clip_feedforward)
        keys.norm(f"{name}.layer_norm1", f"{name}.layer_norm2", width=width)
    keys.norm("vision_model.pre_layrnorm", "vision_model.post_layernorm", width=width)
    keys.layer("visual_projection", sizes.context_channels, width, bias=False)
    return keys


EXPECTED: dict[str, Callable[[Sizes], dict[str, Shape]]] = {
    "reference_unet": reference_unet,
    "motion_module": motion_module,
    "denoising_unet": denoising_unet,
    "pose_guider": pose_guider,
    "vae": vae,
    "image_encoder": image_encoder,
}


def read_sizes(files: Mapping[str, Shapes], settings: Mapping[str, Any]) -> Sizes:
    """The sizes of the model in `files` (name to key to shape).

    What shapes do not show comes from `settings`, in the words of diffusers' and transformers' config.json,
    by file; "unet" is for both UNets. What most keys agree on counts, so that a damaged one stands out.
    Raises BadFile where nothing can be told.
    """
    unet, coder, clip = files["reference_unet"], files["vae"], files["image_encoder"]
    levels = range(_count(unet, r"down_blocks\.(\d+)\."))
    ends = r"(decoder\.)?conv_in\.weight|post_quant_conv\.weight"
    tokens = _usual(clip, r".*position_embedding\.weight", 0)
    patch = _usual(clip, r".*patch_embedding\.weight", 3)
    sizes = Sizes(
        vae_channels=tuple(
            _usual(coder, rf"encoder\.down_blocks\.{i}\.resnets\..*", 0)
            for i in range(_count(coder, r"encoder\.down_blocks\.(\d+)\."))
        ),
        vae_layers=_count(coder, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        latent_channels=_usual(dict(coder) | dict(unet), ends, 1),
        unet_channels=tuple(_usual(unet, rf"down_blocks\.{i}\.resnets\..*", 0) for i in levels),
        unet_layers=_count(unet, r"down_blocks\.0\.resnets\.(\d+)\."),
        down_attention=tuple(i + 1 < len(levels) for i in levels),
        up_attention=tuple(i + 1 < len(levels) for i in levels),
        context_channels=_usual(unet, r".*\.attn2\.to_[kv]\.weight", 1),
        motion_levels=(True,) * len(levels),
        motion_frames=_usual(files["motion_module"], r".*\.pos_encoder\.pe", 1),
        clip_size=round((tokens - 1) ** 0.5) * patch,
        clip_patch=patch,
        clip_channels=_usual(clip, r".*\.layer_norm\d\.(weight|bias)", 0),
        clip_feedforward=_usual(clip, r".*\.mlp\.fc1\.(weight|bias)", 0),
        clip_layers=_count(clip, r"vision_model\.encoder\.layers\.(\d+)\."),
        **_known(settings),
    )
    _divides(sizes)
    return sizes


def _known(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What only configs say. Field, file, names there."""
    table = (
        ("vae_groups", "vae", ("norm_num_groups",)),
        ("latent_scale", "vae", ("scaling_factor",)),
        ("groups", "unet", ("norm_num_groups",)),
        ("unet_heads", "unet", ("num_attention_heads", "attention_head_dim")),  # which counts heads too
        ("motion_heads", "motion_module", ("num_attention_heads",)),
        ("pose_heads", "pose_guider", ("num_attention_heads",)),
        ("pose_head_channels", "pose_guider", ("attention_head_dim",)),
        ("clip_heads", "image_encoder", ("num_attention_heads",)),
        ("clip_activation", "image_encoder", ("hidden_act",)),
    )
    known: dict[str, Any] = {}
    for field, part, names in table:
        for name in names:
            said = settings.get(part, {}).get(name)
            if said is None or field in known:
                continue
            kind = type(getattr(Sizes, field))
            good = said in ACTIVATIONS if kind is str else type(said) in (int, kind) and 0 < said < 1e4
            if not good:
                raise BadFile(f"the config of {part} has {name} {said!r}, which no model here can have")
            known[field] = kind(said)
    return known


def _divides(sizes: Sizes) -> None:
    """Raises BadFile where widths cannot be shared out as the configs, or their defaults, say."""
    table = (
        ("unet", sizes.unet_channels, "groups", sizes.groups),
        ("unet", sizes.unet_channels, "heads", sizes.unet_heads),
        ("motion_module", sizes.unet_channels, "heads", sizes.motion_heads),
        ("vae", sizes.vae_channels, "groups", sizes.vae_groups),
        ("image_encoder", (sizes.clip_channels,), "heads", sizes.clip_heads),
    )
    for part, widths, what, count in table:
        if any(width % count for width in widths):
            raise BadFile(f"widths {widths} of {part} do not divide into {count} {what}: see its config.json")


def _count(shapes: Shapes, pattern: str) -> int:
    """One more than the highest number that `pattern` captures at the start of a key."""
    found = [int(match[1]) for match in map(re.compile(pattern).match, shapes) if match]
    if not found or max(found) > 100:
        raise BadFile(f"no key like {pattern} is in it".replace("\\", ""))
    return 1 + max(found)


def _usual(shapes: Shapes, pattern: str, axis: int) -> int:
    """The most frequent length of an axis among the keys that match."""
    lengths = [shape[axis : axis + 1] for key, shape in shapes.items() if re.fullmatch(pattern, key)]
    found = Counter(length[0] for length in lengths if length)
    if not found:
        raise BadFile(f"no key like {pattern} is in it".replace("\\", ""))
    return found.most_common(1)[0][0]
