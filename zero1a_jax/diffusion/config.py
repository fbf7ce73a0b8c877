"""All sizes of the portrait video diffusion in one frozen dataclass."""

from __future__ import annotations

import dataclasses

POSE_REDUCTION = 8  # pixels of a condition image, a side, to one latent


@dataclasses.dataclass(frozen=True)
class DiffusionConfig:
    """Sizes and choices; the defaults are the published AniPortrait (Stable Diffusion 1.5).

    Levels run from fine to coarse. Raises ValueError where the numbers do not fit together.
    """

    frame_size: int = 512  # pixels, a side: what the model is made for; any multiple of `reduction` works
    # What the condition image shows: "landmarks" (AniPortrait's), "emoji" (Follow-Your-Emoji's) or "dense"
    # (canonical coordinates).
    condition: str = "landmarks"

    # Autoencoder. Every level but the last halves the side.
    vae_patch: int = 1  # pixels a side that are folded into channels before the autoencoder
    vae_channels: tuple[int, ...] = (128, 256, 512, 512)
    vae_layers: int = 2
    vae_groups: int = 32
    vae_linear: bool = (
        False  # encode by a linear map of patches; decode by its inverse plus the decoder network
    )
    latent_channels: int = 4
    latent_scale: float = 0.18215  # initial 1 / standard deviation of the latents

    # Both UNets. Every level but the last halves the side.
    unet_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    unet_layers: int = 2  # per down block; up blocks have one more
    down_attention: tuple[bool, ...] = (
        True,
        True,
        True,
        False,
    )  # spatial transformers on this level, going down
    up_attention: tuple[bool, ...] = (True, True, True, False)  # and coming up, also from fine to coarse
    unet_heads: int = 8
    unet_feedforward: int = 4  # inner width of the feed-forward layers over the outer
    groups: int = 32
    context_channels: int = 768
    position_table: bool = False  # a learned table over latent positions, added after the first convolution
    reference_pose: bool = False  # the reference branch sees a condition image of the portrait too
    precondition: bool = False  # per latent channel: unit inputs and targets, the best linear estimate added
    shared_unets: bool = False  # the reference UNet is the denoiser's own body, without motion and bank
    bank_float16: bool = False  # rounds the reference features as the published scripts do

    # Motion modules of the denoising UNet.
    motion_levels: tuple[bool, ...] = (True, True, True, True)
    motion_heads: int = 8
    motion_attentions: int = 2  # temporal self-attentions in a module
    motion_feedforward: int = 4
    motion_least: int = 1  # shorter videos than this skip the motion modules
    motion_frames: int = 32  # rows of the temporal position table: the longest window

    # Pose guider. The strides, times pose_patch, must multiply to 8.
    pose_patch: int = 1  # pixels a side that are folded into channels before the first convolution
    pose_channels: tuple[int, ...] = (3, 16, 16, 32, 32, 64, 64, 128)
    pose_kernels: tuple[int, ...] = (3, 4, 3, 4, 3, 4, 3, 3)
    pose_strides: tuple[int, ...] = (1, 2, 1, 2, 1, 2, 1, 1)
    pose_frequencies: int = 0  # octaves of sines and cosines of the patch-averaged image, as extra channels
    pose_attention: bool = True
    pose_heads: int = 16
    pose_head_channels: int = 88
    pose_norm: str = "running"  # batch norm statistics: "running", "batch" (see `official`), or "none"
    pose_range: tuple[float, float] = (-1.0, 1.0)  # where 0..1 goes

    # Image encoder (a CLIP vision tower).
    clip_size: int = 224
    clip_patch: int = 14
    clip_channels: int = 1024
    clip_feedforward: int = 4096
    clip_layers: int = 24
    clip_heads: int = 16
    clip_activation: str = "quick_gelu"

    # Noise schedule and long videos.
    train_steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "linear"  # or "scaled_linear": evenly spaced square roots
    zero_snr: bool = True  # rescaled so that the last timestep is noise alone
    prediction: str = "velocity"  # what the network gives: "velocity" or "noise" (not with zero_snr)
    window: int = 16
    overlap: int = 4

    # What the UNets compute in: "float32", "bfloat16" or "float16". Norm statistics, softmax, time embedding,
    # schedule and result are float32 whatever this says, and so are autoencoder, image encoder and pose
    # guider, which run once a video. It is not in repr, which weight files store: weights suit all types.
    dtype: str = dataclasses.field(default="float32", repr=False)

    def __post_init__(self):
        if self.frame_size % self.reduction:
            raise ValueError(
                f"frame_size {self.frame_size} is not a multiple of {self.reduction}, the autoencoder's "
                "reduction: change frame_size, vae_patch or the number of vae_channels."
            )
        levels = (self.unet_channels, self.down_attention, self.up_attention, self.motion_levels)
        if len({len(entries) for entries in levels}) > 1:
            raise ValueError(
                "unet_channels, down_attention, up_attention, motion_levels need one entry a level."
            )
        if not len(self.pose_channels) == len(self.pose_kernels) == len(self.pose_strides):
            raise ValueError("pose_channels, pose_kernels and pose_strides need one entry a convolution.")
        reduction = self.pose_patch
        for stride in self.pose_strides:
            reduction *= stride
        if reduction != POSE_REDUCTION:
            raise ValueError(
                f"pose_patch times pose_strides reduces by {reduction}; make it {POSE_REDUCTION}."
            )
        _choose("condition", self.condition, ("landmarks", "emoji", "dense"))
        _choose("pose_norm", self.pose_norm, ("running", "batch", "none"))
        _choose("beta_schedule", self.beta_schedule, ("linear", "scaled_linear"))
        _choose("prediction", self.prediction, ("velocity", "noise"))
        _choose("dtype", self.dtype, ("float32", "bfloat16", "float16"))
        if self.pose_norm == "running" and self.pose_range[1] > 1:
            raise ValueError(
                f"pose_range {self.pose_range} does not fit the running statistics, which were gathered on "
                'images in [-1, 1]: set pose_norm="batch" too, or leave the range.'
            )
        if self.prediction == "noise" and (self.zero_snr or self.precondition):
            raise ValueError(
                "a model that predicts noise says nothing where there is only noise, and preconditioning is "
                "made for velocities: set zero_snr=False and precondition=False."
            )
        if not 0 <= self.overlap < self.window <= self.motion_frames:
            raise ValueError("overlap must be below window, and window at most motion_frames.")

    @property
    def reduction(self) -> int:
        """The autoencoder's factor: pixels of a frame, a side, to one latent. It divides height and width."""
        return self.vae_patch * 2 ** (len(self.vae_channels) - 1)

    @property
    def latent_size(self) -> int:
        """Side of the latents of a frame of frame_size."""
        return self.frame_size // self.reduction

    @property
    def condition_size(self) -> int:
        """Side in pixels of the condition images that belong to frames of frame_size."""
        return POSE_REDUCTION * self.latent_size


def official(config: DiffusionConfig) -> DiffusionConfig:
    """The same model as AniPortrait's published scripts run it, instead of as it was trained.

    They leave the pose guider in training mode (statistics of the window's own frames), feed it landmark
    images in [-1, 509] instead of [-1, 1], and round the reference features to float16. A frame then depends
    on the other frames of its window. The running statistics belong to [-1, 1] alone. Raises ValueError for a
    pose guider without batch norm.
    """
    if config.pose_norm == "none":
        raise ValueError("this model's pose guider has no batch norm, so there is no official mode of it.")
    return dataclasses.replace(config, pose_norm="batch", pose_range=(-1.0, 509.0), bank_float16=True)


def emoji_config() -> DiffusionConfig:
    """A model like Follow-Your-Emoji (Ma et al., SIGGRAPH Asia 2024) from the same modules.

    As in its published inference code: scaled-linear betas rescaled to zero terminal SNR, v-prediction,
    windows of 24 frames, expression-aware landmarks in 0..1, and the landmark encoder's widths and strides.
    Not as there: its encoder ends in one feature and uses SiLU, its reference network hands over
    block outputs, and all 257 tokens of CLIP are its context. So its own weights do not fit.
    """
    return DiffusionConfig(
        condition="emoji",
        beta_schedule="scaled_linear",
        window=24,
        pose_range=(0.0, 1.0),
        pose_channels=(16, 16, 32, 32, 96, 96, 256),
        pose_kernels=(3,) * 7,
        pose_strides=(1, 1, 2, 1, 2, 1, 2),
        pose_norm="none",
        pose_attention=False,
    )


def _choose(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f'{name} is "{value}"; choose from {", ".join(choices)}.')
