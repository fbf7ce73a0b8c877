"""Every number of the method and of a run, as frozen dataclasses. Each field becomes the flag of its name.

The mark in a help text says where a default comes from: [P] the paper, [S] second-hand summaries of it,
[C] the code of a system it builds on, [D] our own decision (docs/method.md says why). No jax here, so that a
wrong flag is reported before anything heavy is imported.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from zero1a_jax.errors import Refused

Kind = TypeVar("Kind")
DISTILLED = ("sds", "ism", "nfsd")  # the values of --method that distil scores
# Devices whose data sheets cost/datasheets.py has.
DATA_SHEETS = ("a6000", "rtx4090", "l40s", "a100", "h100", "h200", "b200", "tpu-v5e", "tpu-v5p")


def option(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    low: float = -math.inf,
    high: float = math.inf,
    free: bool | Callable[[Any], bool] = False,
) -> Any:
    """A dataclass field with what its flag needs.

    Args:
      default: decides the type too: bool, int, float, str or a tuple of strings.
      help: one sentence; the mark of the default's source at its end.
      choices: the strings that are allowed. low, high: the closed range of a number.
      free: whether it may change between a run and its resumption, because no result depends on it; or a
        function of the Config that says so.
    """
    metadata = {"help": help, "choices": choices, "low": low, "high": high, "free": free}
    return dataclasses.field(default=default, metadata=metadata)


def _assets_are_free(config: Config) -> bool:
    """A run keeps its portrait; with --landmarks=detector the detector works on in every refresh."""
    return config.refresh.landmarks != "detector"


@dataclass(frozen=True)
class Input:
    """What goes in."""

    image: str = option(
        "",
        "The portrait: a picture file, a folder that experiments.prepare wrote, or synthetic:SEED for a "
        "rendered one.",
    )
    caption: str = option(
        "",
        'What the portrait shows, such as "a woman with red hair": kept with the avatar for scores that '
        "compare pictures with words; of synthetic:SEED by default from the person's looks.",
    )
    mask: str = option("", "A picture of the same size as --image, white where the person is.")
    face_index: int = option(0, "Which face of several, 0 = the largest.", low=0)
    accept_unsure: bool = option(
        False, "Go on with a fit of the portrait that is most likely wrong.", free=True
    )
    fit: str = option(
        "estimated",
        "The portrait's head; true: that of the synthetic person that --image names, to tell what the fit "
        "costs.",
        choices=("estimated", "true"),
    )
    assets: str = option(
        "",
        "Folder with face_landmarker.task; without it the variable ZERO1A_ASSETS, else the embedded net.",
        free=_assets_are_free,
    )
    flame: str = option(
        "", "Folder with a FLAME model and its landmark files (see docs/assets.md); else the embedded head."
    )
    diffusion: str = option(
        "",
        "The video diffusion: a folder with AniPortrait's weights, published or converted (docs/assets.md), "
        "or module:function of your own code (docs/own_diffusion.md); else the miniature.",
    )
    arkit: str = option(
        "",
        "Your own table of what ARKit's shapes ask of FLAME (docs/assets.md); else by least squares from the "
        "embedded head.",
    )
    motions: tuple[str, ...] = option((), "Driving files for the real samples; else seeded sequences. [D]")
    size: int = option(128, "Side of the frames, pixels. The miniature makes 128; they are enlarged.", low=32)
    background: str = option("white", "Background of the dataset: white, black or #rrggbb. [D]")


@dataclass(frozen=True)
class Curriculum:
    """Progressive learning. Steps are avatar iterations, angles degrees."""

    frames: int = option(16, "n_f, frames of a sample. [D]", low=1, high=256)
    spatial_samples: int = option(20, "n_s, samples of one expression, front to side. [S]", low=0)
    synthetic_samples: int = option(10, "n_syn, samples of relaxed motion. [S]", low=0)
    real_samples: int = option(10, "n_real, samples of exaggerated motion. [S]", low=0)
    view_interval: int = option(300, "d_s, steps until one more view unrolls. [D]", low=1)
    synthetic_start: int = option(5000, "Step at which the synthetic samples join. [S]", low=0)
    real_start: int = option(8000, "Step at which the real samples join. [S]", low=0)
    progressive: bool = option(True, "False: all is active and unrolled from step 0 (ablation, Fig. 8).")
    spatial: bool = option(True, "False: no spatial samples (ablation, Fig. 8).")
    temporal: bool = option(True, "False: no synthetic and real samples (ablation, Fig. 8).")
    max_yaw: float = option(75.0, "Largest yaw of a side view. [D]", low=0, high=180)
    max_pitch: float = option(15.0, "Largest pitch of a side view. [D]", low=0, high=80)
    temporal_yaw: float = option(15.0, "Largest yaw of a temporal sample's fixed camera. [D]", low=0, high=90)
    base_intensity: float = option(0.9, "Strength of a spatial sample's ARKit shape. [D]", low=0, high=2)
    synthetic_intensity: float = option(0.6, "Strength of relaxed motion. [D]", low=0, high=3)
    real_intensity: float = option(1.25, "Strength of exaggerated motion. [D]", low=0, high=3)


@dataclass(frozen=True)
class Refresh:
    """How the dataset is made and kept up to date: what one refresh of a sample does, and how often."""

    method: str = option(
        "symgen",
        "What the avatar learns from beside the portrait. symgen: frames that the diffusion makes anew all "
        "along; one_time: frames made once, from noise (Fig. 8); portrait_only: nothing; sds, ism, nfsd: "
        "scores (Figs. 1, 12); diffusion_only: there is no avatar, the diffusion's frames are the result.",
        choices=("symgen", "one_time", "portrait_only", *DISTILLED, "diffusion_only"),
    )
    distill_guidance: float = option(7.5, "Guidance of sds, ism and nfsd. [C]", low=0, high=200)
    distill_weight: float = option(1.0, "Weight of their gradient beside the portrait's loss. [D]", low=0)
    update_every: int = option(30, "Avatar steps between two dataset updates. [S]", low=1)
    samples_per_update: int = option(1, "Samples refreshed in one update, all devices together. [D]", low=1)
    inversion: bool = option(True, "False: each refresh starts from noise (ablation).")
    strength: float = option(1.0, "How far a refresh inverts, 1 = to pure noise. [D]", low=0.05, high=1)
    inversion_steps: int = option(25, "DDIM inversion steps. [D]", low=1, high=1000)
    inversion_iterations: int = option(3, "Fixed-point iterations of an inversion step. [D]", low=1, high=20)
    inversion_guidance: float = option(
        1.0,
        "Guidance while inverting; 0 ignores the portrait. Where it equals --guidance a refresh returns its "
        "input: their difference is what pulls a frame toward the portrait. [D]",
        low=0,
        high=30,
    )
    denoise_steps: int = option(25, "DDIM steps. [C]", low=1, high=1000)
    guidance: float = option(3.5, "Classifier-free guidance; 1 = none, at half the cost. [C]", low=0, high=30)
    noise_guidance: float = option(3.5, "The same where a sample starts from noise. [C]", low=0, high=30)
    dtype: str = option(
        "auto",
        "What the diffusion's UNets compute in; auto: bfloat16 on a GPU or TPU, float32 on a CPU and for the "
        "miniature. [D]",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    pose_guider: str = option(
        "clean",
        "How AniPortrait's pose guider runs. clean: as trained; official: as the published scripts run it, "
        "on statistics of the window's own frames and another range of input. [D]",
        choices=("clean", "official"),
    )
    portrait_outranks: bool = option(
        False,
        "True: where the portrait saw the surface, its colours, carried over by the mesh, win over those of "
        "the generated frame. [D]",
    )
    prior_share: float = option(
        0.0,
        "With --texture_prior: share of the avatar that it started as in a generated frame; the rest is the "
        "diffusion's. [D]",
        low=0,
        high=1,
    )
    teacher: str = option(
        "diffusion",
        "Who makes the dataset's frames; truth: the renderer of the synthetic person that --image names, to "
        "tell what the diffusion costs. [D]",
        choices=("diffusion", "truth"),
    )
    landmarks: str = option(
        "mesh",
        "Condition from the mesh's own landmarks, or from those detected in the rendered frames ([S]; "
        "where detection fails the sample is rejected).",
        choices=("mesh", "detector"),
    )


@dataclass(frozen=True)
class Update:
    """The avatar's fit to the dataset: batch, loss weights, learning rates, what is rendered."""

    steps: int = option(10_000, "Avatar iterations. [D]", low=1)
    batch: int = option(4, "Pairs (sample, frame) of one step, all devices together. [D]", low=1)
    portrait_share: float = option(0.15, "Probability that a pair is the portrait. [D]", low=0, high=1)
    l1_weight: float = option(10.0, "Weight of L1. [S]", low=0)
    perceptual_weight: float = option(10.0, "Weight of the perceptual term. [S]", low=0)
    position_weight: float = option(0.1, "Weight of the position regulariser. [S]", low=0)
    scale_weight: float = option(10.0, "Weight of the scale regulariser. [S]", low=0)
    lpips_weights: str = option("", "LPIPS weights (see docs/assets.md); without: multi-scale D-SSIM. [D]")
    position_lr: float = option(5e-3, "Learning rate of positions. [C]", low=0)
    position_lr_end: float = option(5e-5, "The same at the last step. [C]", low=0)
    colour_lr: float = option(2.5e-3, "Learning rate of colours. [C]", low=0)
    opacity_lr: float = option(0.05, "Learning rate of opacities. [C]", low=0)
    scale_lr: float = option(1.7e-2, "Learning rate of scales. [C]", low=0)
    rotation_lr: float = option(1e-3, "Learning rate of rotations. [C]", low=0)
    random_background: bool = option(True, "Compare over random colours, so that alpha is learned too. [D]")
    texture_prior: bool = option(
        False,
        "True: what the portrait hides starts as a network trained on synthetic people guesses it, with the "
        "hair off the mesh. It knows the embedded head alone; other heads start without it. [D]",
    )
    sh_degree: int = option(0, "Degree of the colours' spherical harmonics. [D]", low=0, high=3)
    capacity: float = option(1.3, "Slots for Gaussians, as a multiple of the head's triangles. [D]", low=1)
    rasterizer: str = option("auto", "Rasterizer implementation.", choices=("auto", "xla", "pallas"))


@dataclass(frozen=True)
class Density:
    """Adaptive density control, by the rules of 3D Gaussian splatting with GaussianAvatars' bindings."""

    density_every: int = option(500, "Steps between two density controls; 0 = never. [D]", low=0)
    density_start: int = option(500, "First step with density control. [D]", low=0)
    density_until: float = option(0.75, "Share of the run after which it stops. [D]", low=0, high=1)
    density_gradient: float = option(2e-3, "Mean screen gradient that makes a Gaussian grow. [D]", low=0)
    density_opacity: float = option(0.005, "Opacity below which a Gaussian goes. [C]", low=0, high=1)
    density_split_scale: float = option(
        0.01, "Metres; of the Gaussians that grow larger ones are split, smaller ones cloned. [C]", low=0
    )
    density_max_scale: float = option(0.1, "Metres; larger Gaussians go; 0 = none for its size. [C]", low=0)
    density_max_radius: float = option(
        0.0, "Pixels; Gaussians that looked larger go; 0 = none for its radius. [D]", low=0
    )


@dataclass(frozen=True)
class Runner:
    """Where and how the run goes on. Of these fields only seed, sums and label change its result."""

    workdir: str = option("", "Folder of the run; an existing one is resumed.", free=True)
    seed: int = option(0, "Every random draw of the run comes from it.", low=0, high=2**31 - 1)
    sums: str = option(
        "auto",
        "ordered: gradients are gathered and added in the batch's order, so that bits do not depend on the "
        "number of devices, and a GPU's kernels are deterministic; fast: neither; auto: ordered, but plain "
        "sums where the gathered gradients of a step are above 1 GB. [D]",
        choices=("auto", "ordered", "fast"),
    )
    host_devices: int = option(
        0,
        "XLA devices on a CPU, each of one thread; 0: one a core, but no more than a step has pairs or an "
        "update samples.",
        low=0,
        high=64,
        free=True,
    )
    process: str = option(
        "",
        "I/N: this is process I of N that make this run together; auto: as SLURM, MPI or GKE say.",
        free=True,
    )
    coordinator: str = option("", "HOST:PORT of process 0, where --process is I/N.", free=True)
    patience: int = option(300, "Seconds to wait for a process that is silent.", low=1, free=True)
    split_frames: bool = option(
        False,
        "All devices share one sample, for updates of fewer than devices; bits then depend on their number.",
        free=True,
    )
    results: str = option(
        "all",
        "What is left at the end: all, or the avatar alone with metrics.json (for many runs).",
        choices=("all", "avatar"),
        free=True,
    )
    label: bool = option(False, 'Writes "synthetic" in a corner of the results\' videos and pictures.')
    checkpoint_every: int = option(500, "Steps between two checkpoints.", low=1, free=True)
    keep: int = option(2, "Checkpoints kept.", low=1, free=True)
    log_every: int = option(20, "Steps between two progress lines.", low=1, free=True)
    image_every: int = option(500, "Steps between two pictures for TensorBoard; 0 = none.", low=0, free=True)
    max_skipped: int = option(50, "Updates that are not finite until the run gives up.", low=1, free=True)
    profile_steps: str = option("", "a:b writes a profile of steps a to b - 1 to logs/.", free=True)
    dry_run: bool = option(False, "Says shapes, counts, memory and time, writes nothing.", free=True)
    dry_device: str = option(
        "",
        "Device that --dry_run predicts for; without: this one, measured.",
        choices=("", *DATA_SHEETS),
        free=True,
    )
    dry_diffusion: str = option(
        "",
        "Model that --dry_run counts instead of the run's; aniportrait: the published sizes, without files.",
        choices=("", "aniportrait"),
        free=True,
    )


@dataclass(frozen=True)
class Config:
    """One run."""

    input: Input = Input()
    curriculum: Curriculum = Curriculum()
    refresh: Refresh = Refresh()
    update: Update = Update()
    density: Density = Density()
    runner: Runner = Runner()


def options(kind: Any = Config) -> Iterator[dataclasses.Field]:
    """All options of a dataclass and of the dataclasses in it, in order. Names are unique."""
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.default):
            yield from options(field.default)
        else:
            yield field


def from_values(values: dict[str, Any], kind: type[Kind] = Config) -> Kind:
    """A `kind` from flag names to values; the rest keeps its defaults. Refused for an unknown name."""
    unknown = sorted(set(values) - {field.name for field in options(kind)})
    if unknown:
        raise Refused(f"unknown option {unknown[0]}; see --help for those that exist")
    return _filled(kind, values)


def _filled(kind: Any, values: dict[str, Any]) -> Any:
    given = {}
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(field.default):
            given[field.name] = _filled(type(field.default), values)
        elif field.name in values:
            given[field.name] = values[field.name]
    return kind(**given)


def to_values(given: Any) -> dict[str, Any]:
    """Flag names to values, in the order of definition; the inverse of `from_values`."""
    values = {}
    for field in dataclasses.fields(given):
        value = getattr(given, field.name)
        values |= to_values(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return values


def is_free(field: dataclasses.Field, config: Config) -> bool:
    """Whether an option may change between a run of this config and its resumption."""
    free = field.metadata["free"]
    return bool(free(config) if callable(free) else free)


def out_of_range(given: Any) -> list[str]:
    """Which numbers lie outside their ranges, one clear sentence each."""
    found, values = [], to_values(given)
    for field in options(type(given)):
        value, low, high = values[field.name], field.metadata["low"], field.metadata["high"]
        if not isinstance(value, int | float) or isinstance(value, bool) or low <= value <= high:
            continue
        if value != value:
            found.append(f"--{field.name}={value} must be a number.")
        else:
            bound = f"at least {low:g}" if value < low else f"at most {high:g}"
            found.append(f"--{field.name}={value} must be {bound}.")
    return found


def colour(text: str) -> tuple[float, float, float]:
    """white, black or #rrggbb as r, g, b in 0..1. Refused for anything else."""
    code = {"white": "#ffffff", "black": "#000000"}.get(text, text)
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", code):
        raise Refused(f"{text} is no colour that is known here: it must be white, black or #rrggbb.")
    red, green, blue = (int(code[i : i + 2], 16) / 255.0 for i in (1, 3, 5))
    return red, green, blue


def profile_range(text: str) -> tuple[int, int] | None:
    """'a:b' as (a, b), or None where it is not two numbers with a < b."""
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isdigit() for part in parts) or int(parts[0]) >= int(parts[1]):
        return None
    return int(parts[0]), int(parts[1])
