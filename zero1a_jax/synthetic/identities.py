"""Seed to person: shape coefficients and a look. Colours are linear reflectances, lengths metres."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from flax import struct

from zero1a_jax.flame.procedural import procedural_head
from zero1a_jax.geometry.rotations import quat_to_matrix
from zero1a_jax.types import Array

HAIRLINE_DEGREES = (0, 20, 40, 58, 72, 84, 98, 115, 140, 180)  # azimuths of Look.hairline, 0 = front
WAVES = 8
HAIR_COLOURS = {
    "black": (0.010, 0.008, 0.007),
    "dark brown": (0.035, 0.020, 0.012),
    "brown": (0.090, 0.048, 0.025),
    "light brown": (0.200, 0.115, 0.055),
    "blond": (0.420, 0.290, 0.150),
    "red": (0.230, 0.070, 0.025),
    "grey": (0.330, 0.320, 0.310),
    "white": (0.620, 0.600, 0.570),
}


@struct.dataclass
class Look:
    """Everything about a person but the shape. All arrays, all of fixed size: it vmaps and jits."""

    skin: Array  # [3]
    skin_seed: Array  # [3] metres, shifts every texture
    blotches: Array  # [] strength of the skin's slow colour variation
    freckles: Array  # [] 0..1
    redness: Array  # [] of cheeks, nose and ears
    lips: Array  # [3]
    gloss: Array  # [] strength of the skin's highlights
    iris: Array  # [3]
    iris_angle: Array  # [] radians at the eye's centre
    pupil_angle: Array  # []
    sclera: Array  # [3]
    brow: Array  # [3]
    brow_shape: Array  # [4] half thickness (m), lift (m), arch (m), density 0..1
    hair: Array  # [3]
    hair_tips: Array  # [3] the other colour of streaks and tips
    hairline: Array  # [10] metres above the eyes, at HAIRLINE_DEGREES of azimuth
    hairline_sweep: Array  # [] metres, lowers one side of the forehead and raises the other
    hair_volume: Array  # [4] thickness in metres: top, sides, back, fringe
    hair_curl: Array  # [] 0 straight .. 1 curly
    hair_comb: Array  # [] radians a metre by which strands turn about the crown on their way down
    hair_part: Array  # [2] x of the parting (m), depth of it 0..1
    hair_amount: Array  # [] 0 = bald, 1 = full cover
    curtain: Array  # [4] length below the ears (m), front azimuth (rad), thickness (m), wave (m)
    beard: Array  # [3]
    beard_cover: Array  # [3] 0..1: moustache, chin, cheeks
    beard_thickness: Array  # [] metres; 0 = stubble only
    stubble: Array  # [] 0..1
    glasses: Array  # [6] worn (0 or 1), half width, half height, tube radius (m), exponent, drop (m)
    frame: Array  # [3]
    cloth: Array  # [3]
    cloth_trim: Array  # [3] the second colour of stripes and of the collar's rib
    cloth_style: Array  # [4] stripes 0..1, their direction 0 across .. 1 down, stripes a metre, rib 0..1
    collar: Array  # [3] height up the neck 0..1 (<= 0: none), thickness, dip of the neckline in front (m)
    key_direction: Array  # [3] unit vector to the key light
    key_light: Array  # [3]
    fill_direction: Array  # [3]
    fill_light: Array  # [3]
    sky: Array  # [3] ambient light from above
    ground: Array  # [3] ambient light from below
    pattern: Array  # [] 0..1, how much of the skin the pattern replaces
    pattern_kind: Array  # [4] weights: noise, checker, stripes, rings
    pattern_colours: Array  # [3, 3]
    pattern_waves: Array  # [8, 3] cycles a metre
    pattern_phases: Array  # [8]
    pattern_sharpness: Array  # []


class _Dice:
    """Hands out random numbers, so that each trait reads as one line.

    They come from two draws: compiling a draw per trait would take longer than rendering a thousand people.
    """

    def __init__(self, key: Array, uniforms: int, normals: int):
        one, two = jax.random.split(key)
        self._uniform = jax.random.uniform(one, (uniforms,))
        self._normal = jax.random.normal(two, (normals,))
        self._used = [0, 0]

    def _take(self, which: int, pool: Array, shape: tuple[int, ...]) -> Array:
        start = self._used[which]
        self._used[which] += math.prod(shape)
        if self._used[which] > len(pool):
            raise ValueError(f"the dice hold {len(pool)} numbers; make the pool larger")
        return pool[start : self._used[which]].reshape(shape)

    def uniform(self, low: float | Array, high: float | Array, *shape: int) -> Array:
        return low + (high - low) * self._take(0, self._uniform, shape)

    def normal(self, scale: float, *shape: int) -> Array:
        return scale * self._take(1, self._normal, shape)

    def chance(self, probability: float | Array) -> Array:
        return (self.uniform(0, 1) < probability).astype(jnp.float32)

    def choose(self, weights: Array | list[float]) -> Array:
        bounds = jnp.cumsum(jnp.asarray(weights))
        return (self.uniform(0, 1) * bounds[-1] > bounds[:-1]).sum()


def _unit(vector: Array) -> Array:
    return vector / jnp.linalg.norm(vector, axis=-1, keepdims=True)


def _frame(quaternion: Array) -> Array:
    """A rotation [3, 3] from any four numbers."""
    return quat_to_matrix(_unit(quaternion))


def _mix(a: Array, b: Array, t: Array) -> Array:
    return a + (b - a) * t


@functools.cache
def _shape_size() -> int:
    return procedural_head().shape_basis.shape[-1]


def _hair_colour(dice: _Dice, dark: Array) -> Array:
    """Linear colour [3]; `dark` in 0..1 is the skin's tone, with which light hair gets rare."""
    palette = jnp.array(list(HAIR_COLOURS.values()))
    light = jnp.array([0.08, 0.18, 0.20, 0.16, 0.18, 0.08, 0.07, 0.05])
    deep = jnp.array([0.58, 0.28, 0.05, 0.01, 0.02, 0.01, 0.03, 0.02])
    index = dice.choose(_mix(light, deep, jnp.clip(1.5 * dark - 0.25, 0, 1)))
    return jnp.clip(palette[index] * jnp.exp(dice.normal(0.15) + dice.normal(0.06, 3)), 0.004, 0.8)


def _skin_colour(dice: _Dice, dark: Array) -> Array:
    tones = jnp.array(
        [
            [0.70, 0.47, 0.37],
            [0.62, 0.40, 0.29],
            [0.50, 0.29, 0.19],
            [0.34, 0.18, 0.105],
            [0.19, 0.095, 0.055],
            [0.095, 0.048, 0.030],
        ]
    )
    at = 4.999 * dark
    low = at.astype(jnp.int32)
    tone = _mix(tones[low], tones[low + 1], at - low)
    undertone = dice.normal(0.06) * jnp.array([0.3, 0, -1]) + dice.normal(0.03) * jnp.array([0.5, -0.5, 0])
    return jnp.clip(tone * jnp.exp(undertone + dice.normal(0.06)), 0.03, 0.85)


def _hair(dice: _Dice, masculine: Array, dark: Array) -> dict[str, Array]:
    """Bald, cropped, short, full and long hair; weights lean with `masculine` in 0..1."""
    lean = jnp.array([[0.02, 0.05, 0.18, 0.27, 0.48], [0.16, 0.24, 0.38, 0.17, 0.05]])
    style = dice.choose(_mix(lean[0], lean[1], masculine))
    # rows: bald, cropped, short, full, long; columns: top, sides, back, fringe
    low = jnp.array(
        [
            [0.0015] * 4,
            [0.002, 0.0015, 0.0015, 0.0015],
            [0.008, 0.003, 0.004, 0.003],
            [0.014, 0.009, 0.010, 0.006],
            [0.010, 0.008, 0.008, 0.005],
        ]
    )
    high = jnp.array(
        [
            [0.002] * 4,
            [0.0035, 0.003, 0.003, 0.002],
            [0.022, 0.007, 0.010, 0.008],
            [0.026, 0.018, 0.022, 0.011],
            [0.020, 0.013, 0.018, 0.010],
        ]
    )
    volume = _mix(low[style], high[style], dice.uniform(0, 1, 4))
    # high over the middle and the temples' corners, then steeply down to the sideburns
    base = jnp.array([0.064, 0.066, 0.062, 0.044, 0.014, 0.002, 0.030, 0.000, -0.055, -0.070])
    recession = dice.uniform(-0.006, 0.012) * (0.4 + 0.8 * masculine)
    hairline = base + recession * jnp.array([0.6, 1.0, 1.3, 1.0, 0.4, 0.2, 0.2, 0, 0, 0])
    widow = dice.chance(0.25) * dice.uniform(0.002, 0.007) * jnp.array([-1.0, 0.6, 0.5, 0, 0, 0, 0, 0, 0, 0])
    nape = dice.uniform(-0.012, 0.012) * jnp.array([0, 0, 0, 0, 0, 0, 0, 0.5, 1.0, 1.0])
    sideburn = dice.uniform(-0.02, 0.012) * jnp.array([0, 0, 0, 0.2, 1.0, 1.0, 0, 0, 0, 0])
    fringe = dice.chance(jnp.array([0, 0, 0.12, 0.40, 0.38])[style])
    drop = fringe * dice.uniform(0.018, 0.040) * jnp.array([1, 0.98, 0.9, 0.55, 0.1, 0, 0, 0, 0, 0])
    bald = style == 0
    # the bald keep a rim of cropped hair at the sides, or nothing at all
    rim = jnp.array([0.2, 0.2, 0.2, 0.1, 0.012, 0.006, 0.034, 0.006, -0.04, -0.05])
    hairline = jnp.where(bald, rim, hairline + widow + nape + sideburn - drop)
    long = style == 4
    length = jnp.where(long, dice.uniform(0.055, 0.17), 0.0)
    # long hair falls over the ears or is tucked behind them; over them it also grows down around them
    over = long * dice.chance(0.6)
    cover = jnp.array([0, 0, 0, -0.012, -0.035, -0.045, -0.06, -0.04, 0.0, 0.0])
    hairline = hairline + over * cover
    front = jnp.where(over > 0, dice.uniform(0.85, 1.1), dice.uniform(1.9, 2.05))
    amount = jnp.where(bald, dice.chance(0.4), 1.0)
    colour = _hair_colour(dice, dark)
    tips = jnp.clip(colour * jnp.exp(dice.normal(0.25) + 0.15), 0.004, 0.85)
    curl = dice.chance(0.35) * dice.uniform(0.3, 1.0)
    return dict(
        hair=colour,
        hair_tips=tips,
        hairline=hairline,
        hairline_sweep=dice.normal(0.008) * jnp.where(style >= 2, 1, 0),
        hair_volume=volume * jnp.where(style >= 3, 1 + 0.3 * curl, 1),
        hair_curl=curl,
        hair_part=jnp.stack([dice.uniform(-0.035, 0.035), dice.chance(0.5) * (style >= 2) * (1 - fringe)]),
        hair_amount=amount,
        curtain=jnp.stack([length, front, dice.uniform(0.010, 0.018), curl * dice.uniform(0.001, 0.005)]),
    )


def _light(dice: _Dice) -> dict[str, Array]:
    azimuth, elevation = dice.uniform(-1.0, 1.0), dice.uniform(0.15, 0.95)
    side = -jnp.sign(azimuth) * dice.uniform(0.5, 1.4)
    warmth = dice.normal(0.10) * jnp.array([1.0, 0.0, -1.0])
    strength = dice.uniform(1.5, 2.4)
    ambient = dice.uniform(0.38, 0.72)
    cool = dice.normal(0.07) * jnp.array([1.0, 0.0, -1.0])
    return dict(
        key_direction=_direction(azimuth, elevation),
        key_light=strength * jnp.exp(warmth),
        fill_direction=_direction(side, dice.uniform(-0.1, 0.5)),
        fill_light=strength * dice.uniform(0.12, 0.4) * jnp.exp(cool),
        sky=ambient * jnp.exp(cool),
        ground=ambient * dice.uniform(0.35, 0.7) * jnp.exp(0.5 * warmth),
    )


def _direction(azimuth: Array, elevation: Array) -> Array:
    flat = jnp.cos(elevation)
    return jnp.stack([flat * jnp.sin(azimuth), jnp.sin(elevation), flat * jnp.cos(azimuth)])


def _face(dice: _Dice, masculine: Array, dark: Array, hair: Array) -> dict[str, Array]:
    skin = _skin_colour(dice, dark)
    lips = skin * jnp.array([0.92, 0.58, 0.60]) * jnp.exp(dice.normal(0.10, 3) * jnp.array([0.5, 1, 1]))
    painted = dice.chance(0.3) * (1 - masculine)
    stick = jnp.array([0.42, 0.06, 0.08]) * jnp.exp(dice.normal(0.3, 3))
    lips = _mix(lips, stick, painted * dice.uniform(0.3, 0.9))
    irises = jnp.array(
        [
            [0.045, 0.018, 0.008],
            [0.11, 0.05, 0.02],
            [0.10, 0.10, 0.03],
            [0.06, 0.13, 0.07],
            [0.07, 0.15, 0.26],
            [0.13, 0.18, 0.22],
        ]
    )
    pale = jnp.array([0.12, 0.18, 0.16, 0.16, 0.24, 0.14])
    deep = jnp.array([0.72, 0.22, 0.03, 0.01, 0.01, 0.01])
    iris = irises[dice.choose(_mix(pale, deep, dark))]
    brow = jnp.clip(hair * dice.uniform(0.18, 0.5), 0.004, 0.2)
    shape = jnp.stack(
        [
            dice.uniform(0.0028, 0.0042) + 0.0012 * masculine,
            dice.uniform(-0.0065, -0.0025),
            dice.uniform(-0.002, 0.0035) - 0.0015 * masculine,
            dice.uniform(0.75, 0.97),
        ]
    )
    return dict(
        skin=skin,
        skin_seed=dice.uniform(-1, 1, 3),
        blotches=dice.uniform(0.01, 0.045),
        freckles=dice.chance(0.3) * dice.uniform(0.2, 1.0),
        redness=dice.uniform(0.0, 0.30),
        lips=jnp.clip(lips, 0.01, 0.8),
        gloss=dice.uniform(0.25, 0.75),
        iris=iris * jnp.exp(dice.normal(0.2, 3)),
        iris_angle=dice.uniform(0.47, 0.52),
        pupil_angle=dice.uniform(0.15, 0.23),
        sclera=jnp.array([0.74, 0.72, 0.70]) * dice.uniform(0.9, 1.05),
        brow=brow,
        brow_shape=shape,
    )


def _extras(dice: _Dice, masculine: Array, hair: Array) -> dict[str, Array]:
    bearded = dice.chance(0.45 * masculine)
    kind = dice.choose([0.45, 0.3, 0.25])  # full, goatee, moustache
    cover = jnp.array([[1.0, 1, 1], [1, 1, 0], [1, 0, 0]])[kind]
    worn = dice.chance(0.16)
    frame = jnp.where(dice.chance(0.6) > 0, jnp.full(3, 0.015), dice.uniform(0.02, 0.5, 3))
    return dict(
        beard=jnp.clip(hair * dice.uniform(0.5, 1.1), 0.005, 0.6),
        beard_cover=cover,
        beard_thickness=bearded * dice.uniform(0.001, 0.007),
        stubble=jnp.maximum(bearded, dice.chance(0.4) * (masculine > 0.5) * dice.uniform(0.2, 0.7)),
        glasses=jnp.stack(
            [
                worn,
                dice.uniform(0.0225, 0.0265),
                dice.uniform(0.017, 0.0225),
                dice.uniform(0.0009, 0.0020),
                dice.uniform(2.0, 4.5),
                dice.uniform(0.001, 0.005),
            ]
        ),
        frame=frame,
        cloth=jnp.clip(dice.uniform(0.02, 0.7, 3) * dice.uniform(0.3, 1), 0.01, 0.8),
        collar=jnp.stack(
            [
                dice.chance(0.9) * _mix(dice.uniform(0.2, 0.5), dice.uniform(0.6, 0.8), dice.chance(0.3)),
                dice.uniform(0.003, 0.006),
                dice.chance(0.4) * dice.uniform(0.01, 0.03),
            ]
        ),
    )


def _styling(dice: _Dice, cloth: Array) -> dict[str, Array]:
    """How the hair is combed, and what a shirt is besides its colour."""
    trim = jnp.where(dice.chance(0.5) > 0, cloth * dice.uniform(0.35, 0.8), dice.uniform(0.02, 0.8, 3))
    return dict(
        hair_comb=dice.normal(5.0),
        cloth_trim=jnp.clip(trim, 0.01, 0.8),
        cloth_style=jnp.stack([dice.chance(0.4), dice.chance(0.25), dice.uniform(22, 60), dice.chance(0.6)]),
    )


def identity(key: Array) -> tuple[Array, Look]:
    """A plausible person: shape coefficients [S] of the embedded head, and the look. `key` is a typed key."""
    dice = _Dice(key, 200, 100)
    masculine = dice.uniform(0, 1)
    shape = jnp.clip(dice.normal(0.8, _shape_size()), -2.0, 2.0)
    dark = dice.uniform(0, 1) ** 1.3
    hair = _hair(dice, masculine, dark)
    pattern = dict(
        pattern=jnp.float32(0),
        pattern_kind=jnp.array([1.0, 0, 0, 0]),
        pattern_colours=jnp.full((3, 3), 0.5),
        pattern_waves=jnp.zeros((WAVES, 3)),
        pattern_phases=jnp.zeros(WAVES),
        pattern_sharpness=jnp.float32(1),
    )
    face, extras = _face(dice, masculine, dark, hair["hair"]), _extras(dice, masculine, hair["hair"])
    lights, styling = _light(dice), _styling(dice, extras["cloth"])
    return shape, Look(**face, **hair, **extras, **lights, **styling, **pattern)


def textured(key: Array) -> tuple[Array, Look]:
    """A person in heavily randomised colours: patterns on the skin, any colour for hair, lips, eyes, clothes.

    For pretraining, so that a model learns to carry an appearance along instead of remembering faces.
    Same types as `identity`; mix the two with `jax.tree.map(jnp.where, ...)`.
    """
    shape, look = identity(jax.random.fold_in(key, 1))
    dice = _Dice(jax.random.fold_in(key, 2), 100, 50)

    def colour(probability: float, given: Array) -> Array:
        return jnp.where(dice.chance(probability) > 0, dice.uniform(0.01, 0.85, 3), given)

    direction = dice.normal(1, WAVES, 3)
    frame = _frame(dice.normal(1, 4))
    length = jnp.exp(dice.uniform(jnp.log(0.012), jnp.log(0.07)))
    spread = jnp.exp(dice.uniform(0, 0.9, WAVES))
    kind = dice.choose([0.4, 0.22, 0.18, 0.2])
    waves = _unit(direction) / (length * spread)[:, None]
    regular = (jnp.arange(WAVES) < 3)[:, None] & (kind > 0)
    waves = jnp.where(regular, jnp.resize(frame, (WAVES, 3)) / length, waves)
    sharp = jnp.exp(dice.uniform(0, 2.2))
    hair = colour(0.6, look.hair)
    return 1.3 * shape, look.replace(
        skin=colour(0.7, look.skin),
        blotches=dice.uniform(0.05, 0.5),
        lips=colour(0.6, look.lips),
        iris=colour(0.4, look.iris),
        brow=colour(0.5, look.brow),
        hair=hair,
        hair_tips=colour(0.5, hair),
        beard=colour(0.4, look.beard),
        frame=colour(0.5, look.frame),
        glasses=look.glasses.at[0].set(dice.chance(0.25)),
        cloth=colour(0.8, look.cloth),
        cloth_trim=colour(0.5, look.cloth_trim),
        collar=look.collar.at[0].multiply(1.2),
        pattern=dice.chance(0.8) * dice.uniform(0.3, 1.0),
        pattern_kind=jax.nn.one_hot(kind, 4),
        pattern_colours=dice.uniform(0.01, 0.85, 3, 3),
        pattern_waves=waves,
        pattern_phases=dice.uniform(0, 1, WAVES),
        pattern_sharpness=sharp,
    )
