"""The posed figure: head, displaced shell of hair, beard and clothes, hanging hair, glasses."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from zero1a_jax.flame.model import forward, shaped_template
from zero1a_jax.geometry.meshes import vertex_normals
from zero1a_jax.geometry.rotations import axis_angle_to_matrix
from zero1a_jax.synthetic.identities import HAIRLINE_DEGREES, Look
from zero1a_jax.synthetic.textures import noise, smooth
from zero1a_jax.synthetic.wardrobe import ARM, CURTAIN_U, CURTAIN_V, RING, TUBE, Wardrobe
from zero1a_jax.types import Array, FlameModel, FlameParams

HIDDEN = -0.010  # metres under the skin where a shell vertex has nothing to show


def hair_field(wear: Wardrobe, look: Look, points: Array, azimuth: Array) -> Array:
    """Metres above the hairline at template points [..., 3]; negative on bare skin, -1 on the bald."""
    knots = jnp.radians(jnp.array(HAIRLINE_DEGREES, jnp.float32))
    line = jnp.interp(jnp.abs(azimuth), knots, look.hairline)
    line = line + look.hairline_sweep * jnp.sin(jnp.clip(azimuth, -1.2, 1.2) * 2.2)
    line = line + 0.0035 * noise(_points(azimuth * 1.6, azimuth * 0.7, look.skin_seed[2]))
    return jnp.where(look.hair_amount > 0, points[..., 1] - wear.eyes[0, 1] - line, -1.0)


def beard_field(wear: Wardrobe, look: Look, points: Array, azimuth: Array) -> Array:
    """Metres inside the beard at template points [..., 3]; negative outside."""
    y, side = points[..., 1], jnp.abs(azimuth)
    ends = jnp.array([0.0, 0.32, 0.55, 0.95, 1.35, 3.2])
    corner = wear.mouth[1] + 0.004
    upper = jnp.stack([wear.nose[1], wear.nose[1] - 0.004, corner, corner - 0.006, wear.ear[1], -1.0])
    lower = jnp.stack([wear.chin[1] - 0.026] * 3 + [wear.chin[1] - 0.012, wear.mouth[1] - 0.03, 1.0])
    inside = jnp.minimum(jnp.interp(side, ends, upper) - y, y - jnp.interp(side, ends, lower))
    # bare patches: what the beard's style leaves out
    across = jnp.abs(points[..., 0])
    above = smooth((y - wear.mouth[1]) / 0.004 + 0.5)
    cheek = smooth((across - 1.25 * wear.mouth_width) / 0.006)
    cover = look.beard_cover[0] * above + look.beard_cover[1] * (1 - above)
    cover = cover * (1 - cheek) + look.beard_cover[2] * cheek
    front = points[..., 2] - wear.axis[2] - 0.01
    return jnp.minimum(jnp.minimum(inside, front), 0.02 * (cover - 0.5))


def collar_field(wear: Wardrobe, look: Look, points: Array) -> Array:
    """Metres inside the clothes at template points [..., 3]; negative outside, far below zero unclothed."""
    height = look.collar[0]
    line = wear.neck[0] + height * (wear.neck[1] - wear.neck[0])
    dip = look.collar[2] * smooth((points[..., 2] - wear.axis[2] + 0.03) / 0.09)
    dip = dip * smooth(1.3 - jnp.abs(points[..., 0]) / 0.05)
    return jnp.where(height > 0, line - dip - points[..., 1], -1.0)


def _grow(inside: Array, full: Array, over: Array | float) -> Array:
    """Thickness that rises to `full` within `over` metres of a field's zero, and sinks at slope 1 outside.

    It starts 3 mm outside the zero: the shader cuts the border per pixel.
    """
    t = jnp.clip((inside + 0.003) / over, 0, 1)
    return jnp.where(inside > -0.003, 0.0004 + full * t * (2 - t), inside + 0.003)


def _shell_thickness(wear: Wardrobe, look: Look, points: Array) -> Array:
    """Signed thickness [N] of the shell over template points [N, 3]."""
    azimuth = wear.shell_azimuth
    above = hair_field(wear, look, points, azimuth)
    top, sides, back, fringe = look.hair_volume
    up = smooth((points[:, 1] - wear.eyes[0, 1] - 0.03) / 0.07)
    behind = smooth((jnp.abs(azimuth) - 1.6) / 1.0)
    front = smooth((0.9 - jnp.abs(azimuth)) / 0.5) * (1 - up)
    full = sides + (back - sides) * behind
    full = full + (fringe - full) * front
    full = full + (top - full) * up
    part = jnp.exp(-(((points[:, 0] - look.hair_part[0]) / 0.006) ** 2)) * up * (points[:, 2] > wear.axis[2])
    full = full * (1 - 0.5 * look.hair_part[1] * part)
    lumps = noise(points * (15 + 10 * look.hair_curl) + look.skin_seed)
    full = full * (1 + (0.08 + 0.14 * look.hair_curl) * lumps)
    gate = wear.shell_gate
    hair = _grow(above, full, 0.004 + 0.9 * full)
    inside = beard_field(wear, look, points, azimuth)
    worn = look.beard_thickness > 0
    beard = _grow(jnp.where(worn, inside, -1.0), look.beard_thickness, 0.006 + look.beard_thickness)
    hairy = jnp.maximum(hair, beard)
    hairy = jnp.where(hairy > 0, hairy * gate + HIDDEN * (1 - gate), hairy)
    rise = collar_field(wear, look, points)
    flare = 1 + 1.5 * jnp.clip(rise / 0.05, 0, 1) ** 2
    collar = _grow(rise, look.collar[1] * flare, 0.006)
    return jnp.clip(jnp.maximum(hairy, collar), HIDDEN, 0.06)


def _curtain(wear: Wardrobe, look: Look, scale: Array) -> tuple[Array, Array]:
    """Rest vertices [2 * CURTAIN_U * CURTAIN_V, 3] of the hanging hair, on the template and scaled by [3]."""
    length, front, thickness, wave = look.curtain
    u = jnp.linspace(-1, 1, CURTAIN_U)[:, None]
    v = jnp.linspace(0, 1, CURTAIN_V)[None]
    # the front edge is no plumb line: it swings, and falls back towards the tips
    start = front + 0.10 * noise(_points(v * 2.1, u * 0.3, look.skin_seed[2])) + 0.22 * v * v
    azimuth = jnp.pi + u * (jnp.pi - start)
    top = wear.ear[1] + 0.055
    y = top + (wear.ear[1] - length - top) * v
    y = (
        y
        + 0.030 * v * jnp.abs(u) ** 3 * (length > 0)
        + 0.005 * noise(_points(azimuth * 6, azimuth * 3, look.skin_seed[0])) * v
    )
    table = wear.hang
    column = (azimuth / (2 * jnp.pi) + 0.5) * table.shape[0] - 0.5
    row = jnp.clip((y - wear.hang_low) / (wear.hang_high - wear.hang_low), 0, 1) * (table.shape[1] - 1.001)
    c0, r0 = jnp.floor(column).astype(int), jnp.floor(row).astype(int)
    fc, fr = column - c0, row - r0
    n = table.shape[0]
    low = table[c0 % n, r0] * (1 - fc) + table[(c0 + 1) % n, r0] * fc
    high = table[c0 % n, r0 + 1] * (1 - fc) + table[(c0 + 1) % n, r0 + 1] * fc
    radius = low * (1 - fr) + high * fr
    volume = jnp.where(jnp.abs(u) > 0.5, look.hair_volume[1], look.hair_volume[2])
    swing = noise(_points(y * 45 + azimuth, azimuth * 3, look.skin_seed[1]))
    locks = noise(_points(azimuth * 6, azimuth * 2.5, y * 6))
    beside = jnp.exp(-(((jnp.abs(azimuth - jnp.pi) - 1.62) / 0.40) ** 2))
    clear = 0.006 * smooth(4 * v) * beside  # of the ears
    lift = clear + volume * (0.6 + 0.3 * v) + wave * swing * v + 0.002 * locks
    # the front edges lie against the face and the upper rim sinks under the shell
    hug = smooth((jnp.abs(u) - 0.78) / 0.22)
    radius = radius + lift * (1 - hug) - 0.007 * hug - 0.012 * smooth(1 - 5 * v)
    edge = smooth((1 - jnp.abs(u)) * 7) * smooth((1 - v) * 4 + 0.1)
    inner = radius - jnp.maximum(thickness * edge, 0.0005)
    radius = jnp.concatenate([radius, inner[:, ::-1]], 1)
    y = jnp.concatenate([y, y[:, ::-1]], 1)
    azimuth = jnp.concatenate([azimuth, azimuth[:, ::-1]], 1)
    flat = _points(radius * jnp.sin(azimuth), y - wear.axis[1], radius * jnp.cos(azimuth)).reshape(-1, 3)
    flat = jnp.where(length > 0, flat, 0.0)
    return flat + wear.axis, flat * scale + wear.axis


def _points(*parts: Array) -> Array:
    return jnp.stack(jnp.broadcast_arrays(*parts), -1)


def _tube(center: Array, normal: Array, binormal: Array, radius: Array) -> Array:
    """Vertices [P * TUBE, 3] around a path; normals and binormals [P, 3] span its cross sections."""
    angle = jnp.asarray(np.arange(TUBE) * 2 * np.pi / TUBE, jnp.float32)
    ring = jnp.cos(angle)[:, None] * normal[:, None] + jnp.sin(angle)[:, None] * binormal[:, None]
    return (center[:, None] + radius * ring).reshape(-1, 3)


def _glasses(wear: Wardrobe, look: Look, rest: Array, eyes: Array) -> Array:
    """Rest vertices of the glasses, fitted to the shaped head's rest vertices [V, 3] and eyes [2, 3]."""
    worn, wide, tall, radius, exponent, drop = look.glasses
    plane = jnp.max(jnp.where(wear.front, rest[:, 2], -1)) + radius + 0.0015
    half = jnp.max(jnp.where(wear.side, jnp.abs(rest[:, 0]), 0)) + radius + 0.001
    angle = jnp.asarray(np.arange(RING + 1) * 2 * np.pi / RING, jnp.float32)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    reach = (jnp.abs(cos) ** exponent + jnp.abs(sin) ** exponent + 1e-6) ** (-1 / exponent)
    parts = []
    forward = jnp.array([0.0, 0.0, 1.0])
    hinges = []
    for k, sign in enumerate((1.0, -1.0)):
        middle = eyes[k] * jnp.array([1.0, 1, 0]) + jnp.array([sign * 0.001, -drop, 0])
        out = jnp.stack([cos, sin, 0 * cos], -1)
        path = middle + out * reach[:, None] * jnp.stack([wide, tall, 0 * wide])
        bow = jnp.maximum(sign * (path[:, 0] - middle[0]), 0) ** 2 / wide
        path = path.at[:, 2].set(plane - 0.3 * bow)
        parts.append(_tube(path, out, jnp.broadcast_to(forward, out.shape), radius))
        hinges.append(middle + jnp.stack([sign * wide, 0.35 * tall, plane - 0.3 * wide]))
    t = jnp.linspace(-1, 1, 7)[:, None]
    inner = eyes[0, 0] + 0.001 - wide
    middle = jnp.stack([0 * plane, eyes[0, 1] - drop + 0.3 * tall, plane])
    bridge = middle + jnp.array([1.0, 0, 0]) * t * inner + jnp.array([0, 0.003, 0.0015]) * (1 - t**2)
    up = jnp.broadcast_to(jnp.array([0.0, 1, 0]), bridge.shape)
    parts.append(_tube(bridge, up, jnp.broadcast_to(forward, bridge.shape), radius))
    s = jnp.linspace(0, 1, ARM)[:, None]
    for sign, hinge in zip((1.0, -1.0), hinges, strict=True):
        end = jnp.stack([sign * half, wear.ear[1] + 0.022, wear.ear[2] + 0.0])
        path = hinge + (end - hinge) * s
        path = path.at[:, 0].set(hinge[0] + (end[0] - hinge[0]) * smooth(s[:, 0] * 2.5))
        side = jnp.broadcast_to(jnp.array([1.0, 0, 0]), path.shape)
        parts.append(_tube(path, side, jnp.broadcast_to(jnp.array([0.0, 1, 0]), path.shape), radius))
    return jnp.where(worn > 0, jnp.concatenate(parts), wear.axis)


def dress(
    wear: Wardrobe, model: FlameModel, look: Look, params: FlameParams
) -> tuple[Array, Array, Array, Array]:
    """The posed figure (no leading axes): vertices [P, 3], normals [P, 3], template
    positions [P, 3], thickness [P].

    Template positions say where on the resting template a vertex belongs (textures are evaluated there).
    Thickness is the shell's, and 1 on parts that always show.
    """
    head, joints = forward(model, params)
    rest = shaped_template(model, params.shape)
    rest_joints = model.joint_regressor @ rest
    template = jnp.asarray(model.template)
    thickness = _shell_thickness(wear, look, template[wear.shell])
    head_normals = vertex_normals(head, model.faces)
    shell = head[wear.shell] + thickness[:, None] * head_normals[wear.shell]

    extent = jnp.where(wear.scalp[:, None], jnp.abs(rest - wear.axis), 0).max(0)
    scale = extent / jnp.where(wear.scalp[:, None], jnp.abs(template - wear.axis), 0).max(0)
    curtain, curtain_rest = _curtain(wear, look, jnp.stack([scale[0], jnp.ones(()), scale[2]]))
    glasses_rest = _glasses(wear, look, rest, rest_joints[3:5])
    loose = jnp.concatenate([curtain_rest, glasses_rest])
    root = axis_angle_to_matrix(jnp.asarray(params.rotation))
    skull = root @ axis_angle_to_matrix(jnp.asarray(params.neck))
    with_root = (loose - rest_joints[0]) @ root.T + joints[0]
    with_skull = (loose - rest_joints[1]) @ skull.T + joints[1]
    weight = smooth((loose[:, 1:2] - rest_joints[1, 1] + 0.05) / 0.08) * 0.7 + 0.3
    loose_posed = weight * with_skull + (1 - weight) * with_root

    vertices = jnp.concatenate([head, shell, loose_posed])
    canonical = jnp.concatenate([template, template[wear.shell], curtain, glasses_rest])
    shown = jnp.concatenate([jnp.ones(len(head)), thickness, jnp.ones(len(loose))])
    normals = vertex_normals(vertices, wear.faces)
    return vertices, normals, canonical, shown
