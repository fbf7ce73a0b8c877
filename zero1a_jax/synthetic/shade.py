"""Surface point to colour: procedural materials evaluated per pixel, and a portrait photographer's light."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from zero1a_jax.synthetic.figure import collar_field
from zero1a_jax.synthetic.identities import Look
from zero1a_jax.synthetic.textures import noise, sine, smooth
from zero1a_jax.synthetic.wardrobe import CLOTH, EYE, FRAME, HAIR, MOUTH, SKIN, TEETH, TONGUE, Wardrobe
from zero1a_jax.types import Array


@struct.dataclass
class Surface:
    """What the mesh says at P pixels."""

    point: Array  # [P, 3] metres, template
    normal: Array  # [P, 3] unit, world
    view: Array  # [P, 3] unit, from the surface to the camera
    occlusion: Array  # [P] 0..1
    lips: Array  # [P] metres into the lips
    thickness: Array  # [P] metres, of the shell
    hair: Array  # [P] metres above the hairline
    beard: Array  # [P] metres into the beard
    rim: Array  # [P] metres from the eyelids' edge
    material: Array  # [P] int32


def _mix(a: Array, b: Array, t: Array) -> Array:
    """a and b [P, 3] or [3], t [P]."""
    return a + (b - a) * t[..., None]


def _when(shown: Array, function: Callable, *args):
    """function(*args) if `shown`, else zeros.

    Also keeps XLA from repeating the work of `function` in every consumer of its results, which costs more.
    """
    nothing = jax.eval_shape(function, *args)
    return jax.lax.cond(
        shown, function, lambda *_: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), nothing), *args
    )


def _dot(a: Array, b: Array) -> Array:
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def _unit(a: Array) -> Array:
    return a / jnp.sqrt(jnp.maximum(_dot(a, a), 1e-12))[..., None]


def _bump(point: Array, center: Array, radius: float) -> Array:
    """About 1 within the radius of both mirrored centres, 0 beyond twice that."""
    x = jnp.abs(point[..., 0]) - jnp.abs(center[0])
    square = x * x + (point[..., 1] - center[1]) ** 2 + (point[..., 2] - center[2]) ** 2
    return 1 / (1 + (square / radius**2) ** 2)


def _pattern(look: Look, point: Array) -> tuple[Array, Array]:
    """Shares [P] of the pretraining pattern's second and third colours."""
    rows = zip(look.pattern_waves, look.pattern_phases, strict=True)
    wave = [sine(_dot(point, row) + phase) for row, phase in rows]
    away = point - look.skin_seed * 0.08
    rings = sine(jnp.sqrt(_dot(away, away) * _dot(look.pattern_waves[0], look.pattern_waves[0])))
    kind = look.pattern_kind
    value = kind[0] * 0.6 * sum(wave) + kind[1] * 2.5 * wave[0] * wave[1] * wave[2]
    value = value + kind[2] * wave[0] + kind[3] * rings
    step = jnp.clip(0.5 + 0.5 * look.pattern_sharpness * value, 0, 1)
    return step, 0.6 * smooth(0.5 + 2 * (wave[5] + wave[6]))


@struct.dataclass
class Marks:
    """What is on the skin at P pixels, each [P]."""

    slow: Array  # -1..1, blotches
    fine: Array  # -1..1, pores
    flush: Array  # 0..1
    spots: Array  # 0..1, freckles
    lids: Array  # 0..1
    lashes: Array  # 0..1
    fold: Array  # 0..1, above the upper lid
    ear: Array  # 0..1, the hollows of the ears
    lip: Array  # 0..1
    crease: Array  # 0..1
    seam: Array  # 0..1, where the lips meet
    stubble: Array  # 0..1
    brow: Array  # 0..1
    roots: Array  # 0..1, hair that leaves the skin


def _marks(wear: Wardrobe, look: Look, s: Surface) -> Marks:
    p = s.point
    shifted = p + look.skin_seed
    fine = noise(shifted * 160)
    eye = wear.eyes[0]
    cheek = jnp.stack([eye[0] * 1.25, 0.55 * eye[1] + 0.45 * wear.mouth[1], eye[2] - 0.004])
    flush = _bump(p, cheek, 0.020) + 0.7 * _bump(p, wear.nose + jnp.array([0, 0.008, 0.01]), 0.011)
    spots = smooth((noise(shifted * 130) * noise(shifted[..., ::-1] * 95) - 0.22) * 6)
    lip = smooth(s.lips / 0.0012 + 0.5 + 0.15 * fine)
    stubble = smooth(s.beard / 0.008 + 0.3) * (0.55 + 0.45 * noise(p * 420)) * (1 - lip)
    ragged = 0.0020 * noise(p * jnp.array([330.0, 60, 330])) + 0.0012 * fine
    roots = smooth((s.hair + ragged) / 0.009 + 0.55)
    upper = smooth((p[..., 1] - eye[1]) / 0.004)
    return Marks(
        slow=noise(shifted * 22),
        fine=fine,
        flush=jnp.minimum(flush + 0.6 * _bump(p, wear.ear, 0.02), 1) * look.redness,
        spots=spots * look.freckles * _bump(p, cheek * jnp.array([0.8, 1, 1]), 0.034),
        lids=_bump(p, eye + jnp.array([0, 0, 0.010]), 0.0135),
        lashes=smooth(1.25 - s.rim / 0.0013) * (0.35 + 0.6 * upper),
        fold=smooth(1 - jnp.abs(s.rim - 0.0048) / 0.0016) * upper * (s.rim < 0.02),
        ear=_ear_hollows(wear, p),
        lip=lip,
        seam=smooth((s.lips - 0.002) / 0.006),
        crease=smooth(0.5 + noise(p * jnp.array([420.0, 60, 60]))),
        stubble=jnp.clip(0.62 * look.stubble * stubble, 0, 0.8),
        brow=_brow(wear, look, p),
        roots=0.85 * look.hair_amount * roots,
    )


def _skin(look: Look, marks: Marks, pattern: tuple[Array, Array]) -> tuple[Array, Array]:
    """Albedo [P, 3] and gloss [P] of skin with lips, brows, stubble, freckles and the hair's roots."""
    albedo = look.skin * jnp.exp(
        look.blotches * (marks.slow[..., None] * jnp.array([0.5, 1.0, 1.0]) + 0.35 * marks.fine[..., None])
    )
    albedo = albedo * (1 - marks.flush[..., None] * jnp.array([0.0, 0.55, 0.45]))
    albedo = albedo * (1 - marks.spots[..., None] * jnp.array([0.25, 0.45, 0.55]))
    first, second, third = look.pattern_colours
    painted = _mix(_mix(first, second, pattern[0]), third, pattern[1])
    albedo = albedo + (painted - albedo) * look.pattern
    albedo = albedo * (1 - 0.22 * marks.lids[..., None] * jnp.array([0.6, 1.0, 0.9]))
    albedo = albedo * (1 - 0.20 * marks.fold[..., None] * jnp.array([0.7, 1.0, 1.0]))
    albedo = albedo * (1 - 0.55 * marks.ear[..., None] * jnp.array([0.7, 1.0, 1.0]))
    inner = 1 - 0.12 * marks.crease - 0.25 * marks.seam
    albedo = _mix(albedo, look.lips * inner[..., None], 0.92 * marks.lip)
    albedo = _mix(albedo, look.beard, marks.stubble)
    albedo = _mix(albedo, look.brow, marks.brow)
    albedo = _mix(albedo, 0.35 * look.brow, 0.85 * marks.lashes)
    albedo = _mix(albedo, look.hair, marks.roots)
    hairy = jnp.maximum(marks.roots, marks.brow)
    return albedo, look.gloss * (1 + 1.2 * marks.lip) * (1 - 0.8 * hairy) * (1 + 0.1 * marks.fine)


def _ear_hollows(wear: Wardrobe, point: Array) -> Array:
    """0..1 in the groove inside the outer rim and in the bowl before the canal, seen from the side."""
    back = -(point[..., 2] - wear.ear[2]) / 0.0145
    up = (point[..., 1] - wear.ear[1]) / 0.0265
    side = smooth((jnp.abs(point[..., 0]) - wear.ear[0] + 0.012) / 0.004)
    away = jnp.sqrt(back * back + up * up + 1e-6)
    groove = smooth(1 - jnp.abs(away - 0.72 + 0.10 * up) / 0.13) * smooth((back + 0.5) * 2) * smooth(up + 0.9)
    bowl = smooth(1.5 - jnp.sqrt((back + 0.30) ** 2 + (1.25 * (up + 0.22)) ** 2 + 1e-6) / 0.28)
    fork = smooth(1 - jnp.abs(away - 0.42) / 0.08) * smooth(2 * up) * smooth((back + 0.4) * 2)
    return side * jnp.clip(0.8 * groove + bowl + 0.45 * fork, 0, 1)


def _brow(wear: Wardrobe, look: Look, point: Array) -> Array:
    """Cover 0..1 of the eyebrows' hairs."""
    thick, lift, arch, density = look.brow_shape
    inner, outer, c0, c1, c2 = wear.brow
    x = jnp.abs(point[..., 0])
    t = (x - inner) / (outer - inner)
    peak = 1 - ((t - 0.62) / 0.62) ** 2
    middle = c0 + c1 * x + c2 * x * x + lift + arch * peak
    half = thick * jnp.clip(1.15 - 0.75 * jnp.maximum(t - 0.35, 0) / 0.65, 0.2, 1)
    y = (point[..., 1] - middle) / half
    # hairs lean outward and up: slanted stripes, thinner toward the borders
    lean = point[..., 1] * (0.5 + 1.3 * (1 - t)) - 1.2 * x
    hairs = 0.5 + 0.5 * sine(lean * 620 + 0.5 * noise(point * 300))
    body = smooth((1.15 - jnp.abs(y)) * 1.6) * smooth(t * 5 + 0.45) * smooth((1.06 - t) * 6)
    return density * body * (0.62 + 0.38 * hairs) * (point[..., 2] > wear.eyes[0, 2] - 0.035)


def _eye(wear: Wardrobe, look: Look, s: Surface) -> Array:
    """Albedo [P, 3] of the eyeballs."""
    left = s.point[..., 0] > 0
    center = jnp.where(left[..., None], wear.eyes[0], wear.eyes[1])
    axis = jnp.where(left[..., None], wear.eye_axis[0], wear.eye_axis[1])
    ray = _unit(s.point - center)
    cos = _dot(ray, axis)
    radius = jnp.sqrt(jnp.maximum(2 * (1 - cos), 0))  # close to the angle
    flat = (ray - cos[..., None] * axis) / jnp.maximum(radius, 0.02)[..., None]
    fibres = noise(flat * 7 + radius[..., None] * 1.5)
    ring = radius / look.iris_angle
    iris = look.iris * (0.75 + 0.5 * smooth((1 - ring) * 2) + 0.35 * fibres)[..., None]
    iris = iris * (1 - 0.75 * smooth((ring - 0.78) / 0.22))[..., None]
    iris = iris * smooth((radius - look.pupil_angle) / 0.04 + 0.5)[..., None]
    veins = smooth((ring - 1.3) * 0.9) * (0.12 + 0.06 * noise(s.point * 260))
    white = look.sclera * (1 - veins[..., None] * jnp.array([0.2, 1.0, 0.9]))
    return _mix(iris, white, smooth((ring - 0.96) / 0.09))


def _hair(wear: Wardrobe, look: Look, s: Surface) -> tuple[Array, Array, Array]:
    """Albedo [P, 3], strand direction [P, 3] (template) and a normal tilt [P] of hair and beard."""
    axis = jnp.array([0.0, 0.940, -0.342])  # through the crown
    away = s.point - wear.axis - jnp.stack([look.hair_part[0] * 0.6, 0.0, 0.0])
    along = _dot(away, axis)
    flat = away - along[..., None] * axis
    radial = flat / jnp.sqrt(jnp.maximum(_dot(flat, flat), 1e-8))[..., None]
    turn = look.hair_comb * (along - 0.06)
    radial = jnp.cos(turn)[..., None] * radial + jnp.sin(turn)[..., None] * jnp.cross(axis, radial)
    bend = 0.12 * noise(s.point * 28 + look.skin_seed) * (1 + 4 * look.hair_curl)
    coordinate = radial * 15 + (along * (7 + 34 * look.hair_curl) + bend)[..., None] + look.skin_seed
    locks = noise(coordinate * 0.28)
    clumps = noise(coordinate * 0.8)
    strands = noise(coordinate * 2.6)
    curls = noise(s.point * 95 + look.skin_seed)
    strands = strands + (curls - strands) * 0.6 * look.hair_curl
    tone = 0.14 * locks + 0.13 * clumps + (0.12 + 0.12 * look.hair_curl) * strands
    deep = jnp.clip(1 + tone, 0.25, 1.7)
    tips = smooth(0.2 + 0.4 * locks + 0.25 * clumps + 4 * jnp.maximum(-along - 0.03, 0))
    albedo = _mix(look.hair, look.hair_tips, tips) * deep[..., None]
    low = smooth((wear.ear[1] - 0.005 - s.point[..., 1]) / 0.01) * smooth((s.beard + 0.004) / 0.004)
    chin = look.beard * (1 + 0.3 * noise(s.point * jnp.array([310.0, 90, 310])))[..., None]
    albedo = _mix(albedo, chin, low * (s.beard > -0.003))
    inward = smooth(-3 * _dot(s.normal, radial)) * (s.thickness > 0.5)  # the inner side of hanging hair
    albedo = albedo * (1 - 0.65 * inward)[..., None]
    strand = _unit(axis - _dot(axis, s.normal)[..., None] * s.normal)
    return albedo, strand, strands


def _cloth(wear: Wardrobe, look: Look, s: Surface) -> tuple[Array, Array]:
    """Albedo [P, 3] and occlusion [P] of a shirt: plain or striped, with folds and a ribbed collar."""
    p, (striped, down, often, rib) = s.point, look.cloth_style
    across = p[..., 1] + (p[..., 0] - p[..., 1]) * down
    stripes = striped * smooth(0.5 + 4 * (sine(across * often) - 0.3))
    inside = collar_field(wear, look, p)
    collar = rib * smooth((0.013 - inside) / 0.002)
    albedo = _mix(look.cloth, look.cloth_trim, jnp.maximum(stripes, collar))
    albedo = (
        albedo * (1 + 0.06 * noise(p * 210) - 0.10 * collar * (0.5 + 0.5 * sine(p[..., 0] * 260)))[..., None]
    )
    folds = noise(p * jnp.array([14.0, 26, 14]) + look.skin_seed) + 0.5 * noise(p * 38 + look.skin_seed)
    under = smooth(inside / 0.004)  # the collar's edge casts a line of shade
    return albedo, jnp.clip((0.82 + 0.06 * folds) * (0.65 + 0.35 * under), 0.2, 1)


def light(look: Look, s: Surface, albedo: Array, gloss: Array, occlusion: Array, soft: Array) -> Array:
    """Linear radiance [P, 3] of a wrapped diffuse surface with two highlights under key, fill and sky."""
    total = jnp.zeros_like(albedo)
    scatter = soft[..., None] * jnp.array([0.38, 0.20, 0.14])  # light bleeds through skin, red most
    facing = jnp.maximum(_dot(s.normal, s.view), 0)
    rim = (1 - facing) ** 4
    for direction, colour, share in (
        (look.key_direction, look.key_light, 1.0),
        (look.fill_direction, look.fill_light, 0.6),
    ):
        cosine = _dot(s.normal, direction)
        wrapped = jnp.maximum((cosine[..., None] + scatter) / (1 + scatter), 0)
        half = _unit(direction + s.view)
        shine = jnp.maximum(_dot(s.normal, half), 0)
        shine2 = shine * shine
        shine8 = shine2 * shine2 * shine2 * shine2
        shine32 = shine8 * shine8 * shine8 * shine8
        lobe = gloss * share * (0.050 * shine8 + 0.10 * shine32) * (1 + 2 * rim) * (cosine > 0)
        shade = 0.35 + 0.65 * occlusion  # a cheap stand-in for cast shadows
        total = total + colour * (albedo * wrapped * 0.42 + lobe[..., None]) * shade[..., None]
    up = 0.5 + 0.5 * s.normal[..., 1]
    ambient = _mix(look.ground, look.sky, up)
    bounce = occlusion[..., None] ** (1 - 0.35 * albedo)  # bright surfaces light their own creases
    return total + ambient * bounce * (albedo + 0.03 * (gloss * rim)[..., None])


def shade(wear: Wardrobe, look: Look, s: Surface) -> Array:
    """Linear radiance [P, 3] of every pixel; where no mesh is, meaningless but finite."""
    marks = _when((s.material == SKIN).any(), lambda s: _marks(wear, look, s), s)
    pattern = _when(look.pattern > 0, lambda s: _pattern(look, s.point), s)
    albedo, gloss = _skin(look, marks, pattern)
    soft = jnp.ones_like(gloss)
    # hair darkens the skin around its roots by its own thickness
    near = smooth(1 + s.hair / 0.010) * look.hair_amount * jnp.clip(look.hair_volume[3] / 0.012, 0, 1)
    occlusion = jnp.clip(s.occlusion * 1.08, 0, 1) * (1 - 0.45 * near)

    p = s.point
    hang = s.thickness > 0.5  # parts without skin under them
    edge = 0.0032 * noise(p * jnp.array([330.0, 60, 330])) + 0.0015 * noise(p * 90)
    grown = hang | (s.hair + edge > 0) | ((s.beard + 0.5 * edge > 0) & (look.beard_thickness > 0))
    is_hair = (s.material == HAIR) & grown
    hair, strand, tilt = _when(is_hair.any(), lambda s: _hair(wear, look, s), s)
    albedo = jnp.where(is_hair[..., None], hair, albedo)
    is_eye = s.material == EYE
    eye = _when(is_eye.any(), lambda s: _eye(wear, look, s), s)
    albedo = jnp.where(is_eye[..., None], eye, albedo)
    lid = 1 - 0.55 * smooth((s.normal[..., 1] - 0.05) / 0.42)
    occlusion = jnp.where(is_eye, 0.85 * lid, occlusion)
    occlusion = jnp.where(is_hair, jnp.clip(0.6 + 0.25 * tilt, 0.15, 1), occlusion)
    deep = smooth((wear.mouth[2] - 0.004 - s.point[..., 2]) / 0.028)
    inside = (s.material == MOUTH) | (s.material == TEETH) | (s.material == TONGUE)
    flesh = jnp.array([0.32, 0.075, 0.07]) * (1 - 0.9 * deep)[..., None]
    tooth = jnp.array([0.72, 0.66, 0.54]) * (1 - 0.55 * deep)[..., None]
    albedo = jnp.where((s.material == MOUTH)[..., None], flesh, albedo)
    albedo = jnp.where((s.material == TEETH)[..., None], tooth, albedo)
    albedo = jnp.where((s.material == TONGUE)[..., None], 1.5 * flesh, albedo)
    occlusion = jnp.where(inside, 0.45 * (1 - 0.6 * deep), occlusion)
    is_cloth = (s.material == CLOTH) & (collar_field(wear, look, p) > 0)
    cloth, folds = _when(is_cloth.any(), lambda s: _cloth(wear, look, s), s)
    albedo = jnp.where(is_cloth[..., None], cloth, albedo)
    occlusion = jnp.where(is_cloth, folds, occlusion)
    albedo = jnp.where((s.material == FRAME)[..., None], look.frame, albedo)
    occlusion = jnp.where(s.material == FRAME, 0.9, occlusion)
    matte = is_hair | is_cloth | is_eye
    soft = jnp.where(matte | (s.material == FRAME), 0.3, soft)
    gloss = jnp.where(matte, 0.0, jnp.where(inside | (s.material == FRAME), 1.6, gloss))
    colour = light(look, s, albedo, gloss, occlusion, soft)
    return colour + _sheen(look, s, strand, tilt, is_hair, hair) + _glint(look, s, is_eye)[..., None]


def _sheen(look: Look, s: Surface, strand: Array, tilt: Array, is_hair: Array, hair: Array) -> Array:
    """The bright band on hair (Kajiya and Kay 1989)."""
    tangent = _unit(strand + (0.10 * tilt)[..., None] * s.normal)
    along = _dot(tangent, _unit(look.key_direction + s.view))
    band = jnp.maximum(1 - along * along, 0)
    band = band * band * band * band
    band = band * band * band * band
    lit = jnp.maximum(_dot(s.normal, look.key_direction) + 0.15, 0)
    strength = is_hair * band * lit * (1 - 0.7 * look.hair_curl)
    return (0.05 + 0.55 * hair) * look.key_light * (0.40 * strength)[..., None]


def _glint(look: Look, s: Surface, is_eye: Array) -> Array:
    """The window reflected in the cornea: a sharp mirror image of a broad light."""
    mirror = 2 * _dot(s.normal, s.view)[..., None] * s.normal - s.view
    hit = smooth((_dot(mirror, look.key_direction) - 0.93) / 0.03)
    second = smooth((_dot(mirror, look.fill_direction) - 0.97) / 0.02)
    return is_eye * (1.1 * hit + 0.25 * second)
