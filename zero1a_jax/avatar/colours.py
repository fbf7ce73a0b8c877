"""First colours of an avatar, from the one portrait.

What the portrait shows is unprojected onto the visible surface; what it hides is taken from the mirrored
place of the head, then filled in smoothly over the mesh. Parts that a portrait never shows (inside
of the mouth, teeth, hidden eyes) get plain colours of their own.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from zero1a_jax.avatar.bind import pose
from zero1a_jax.flame.model import forward
from zero1a_jax.geometry.cameras import position, project
from zero1a_jax.geometry.meshes import face_normals
from zero1a_jax.geometry.zbuffer import zbuffer
from zero1a_jax.image.colour import to_sh
from zero1a_jax.types import Array, Avatar, Camera, FlameModel, Portrait

_FACING = (0.15, 0.45)  # cosine to the viewer between which a sample's trust rises from 0 to 1
_COVERED = (0.88, 0.995)  # the same for the portrait's alpha: rims carry background
_SLACK = 0.0015  # metres behind the z-buffer at which a point still counts as seen
_ROUNDS = 200  # rings of triangles that a colour can flow
_REACH = 0.05  # metres over which a flowing colour loses all but 1/e of its trust
_FLOWED = (0.2, 0.9)  # trust between which a colour that flowed in wins over what is likely there
_LEVEL = 0.006  # metres of height that a colour of the neck stands for
_CROWN = 0.02  # metres from the farthest scalp that is seen: what is there, the hidden scalp has
_OUTSIDE = 0.03  # of the head's pixels: so many hair pixels beside the mesh tell the hair's colour alone
# sRGB of parts that hide; mask names as in the embedded head, where a model has them
_PARTS = (
    ("mouth_interior", (0.30, 0.10, 0.10)),
    ("tongue", (0.62, 0.30, 0.30)),
    ("teeth", (0.86, 0.83, 0.78)),
    ("left_eyeball", (0.88, 0.86, 0.84)),
    ("right_eyeball", (0.88, 0.86, 0.84)),
    ("iris", (0.30, 0.22, 0.16)),
    ("pupil", (0.04, 0.04, 0.04)),
)
MOUTH = 1  # of `part_ids`: the pocket behind the lips
_EYES = ("left_eyeball", "right_eyeball")


def smoothstep(value: Array, low: float, high: float) -> Array:
    """Rises smoothly from 0 at `low` to 1 at `high`."""
    part = jnp.clip((value - low) / (high - low), 0.0, 1.0)
    return part * part * (3.0 - 2.0 * part)


def bilinear(image: Array, pixels: Array) -> Array:
    """Values [P, C] of an image [H, W, C] at pixels [P, 2], centres at +0.5, clamped at the border."""
    height, width, channels = image.shape
    table, corner = image.reshape(-1, channels), jnp.floor(pixels - 0.5)
    right, down = jnp.split(pixels - 0.5 - corner, 2, -1)
    column, row = corner.astype(jnp.int32).T

    def line(below: int) -> Array:
        at = jnp.clip(row + below, 0, height - 1) * width
        # All channels of a pixel at once: one by one takes three times as long on a CPU.
        left, after = (
            table.at[at + jnp.clip(column + k, 0, width - 1)].get(mode="promise_in_bounds") for k in (0, 1)
        )
        return left * (1.0 - right) + after * right

    return line(0) * (1.0 - down) + line(1) * down


def nearest_depth(camera: Camera, vertices: Array, faces: Array) -> Array:
    """Depth [H, W] in metres of the mesh's nearest point at each pixel, infinity beside the mesh."""
    pixels, depth = project(camera, vertices)
    return zbuffer(pixels, depth, faces, camera.height, camera.width)[2]


def sample_visible(
    portrait: Portrait, vertices: Array, faces: Array, points: Array, face_ids: Array, *, nearest: Array
) -> tuple[Array, Array]:
    """Portrait colours [P, 3] at surface points [P, 3] of triangles `face_ids` [P], and trust [P] in 0..1.

    Trust is 0 for points outside the frame, behind the mesh of `vertices` [V, 3] (`nearest` [H, W], see
    `nearest_depth`) or facing away, rises with the angle, and follows the portrait's alpha, so that rims do
    not take background.
    """
    camera = portrait.camera
    pixels, depth = project(camera, points)
    column, row = jnp.floor(pixels[:, 0]).astype(jnp.int32), jnp.floor(pixels[:, 1]).astype(jnp.int32)
    inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height) & (depth > 0)
    # An empty pixel holds infinity: a point that projects there lies on the rim, before nothing.
    front = nearest[jnp.clip(row, 0, camera.height - 1), jnp.clip(column, 0, camera.width - 1)]

    view = position(camera) - points
    view = view / jnp.linalg.norm(view, axis=-1, keepdims=True)
    cosine = jnp.sum(face_normals(vertices, faces)[face_ids] * view, -1)
    # The buffer is sampled at pixel centres, up to half a pixel away: on a slope that is a depth.
    half_pixel = 0.5 * depth / camera.focal[0]
    slack = _SLACK + half_pixel * jnp.sqrt(1.0 - jnp.clip(cosine, 0.05, 1.0) ** 2) / jnp.clip(
        cosine, 0.05, 1.0
    )
    seen = inside & (depth <= front + slack)

    values = bilinear(jnp.concatenate([portrait.rgb, portrait.alpha[..., None]], -1), pixels)
    trust = smoothstep(cosine, *_FACING) * smoothstep(values[:, 3], *_COVERED) * seen
    return values[:, :3], trust


def mirror_faces(model: FlameModel) -> Array:
    """For each triangle [F] int32 the one nearest to its mirror image (x to -x) on the template.

    Distance counts position and normal (a centimetre per unit of normal), so that lids do not pair
    with eyeballs nor lips with teeth.
    """
    vertices, faces = jnp.asarray(model.template), jnp.asarray(model.faces)
    places = jnp.concatenate([jnp.mean(vertices[faces], 1), 0.01 * face_normals(vertices, faces)], -1)
    flipped = places * jnp.array([-1.0, 1, 1, -1, 1, 1])

    def nearest(place: Array) -> Array:
        return jnp.argmin(jnp.sum((places - place) ** 2, -1)).astype(jnp.int32)

    return jax.lax.map(nearest, flipped, batch_size=256)


def spread(vertices: Array, faces: Array, colours: Array, trust: Array, region: Array) -> tuple[Array, Array]:
    """Lets face colours [F, 3] flow over the mesh [F, 3] to where trust [F] is low; the same for trust.

    A face is as trusted as its own sample or, faded by the way, its neighbours; its colour is the mix.
    Nothing flows out of or through faces outside `region` [F]. What no trusted face reaches keeps trust 0.
    """
    vertex_count, fade = len(vertices), jnp.exp(-_sizes(vertices, faces) / _REACH)
    faces, trust, member = jnp.asarray(faces), jnp.where(region, trust, 0.0), region.astype(colours.dtype)

    def round_(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        now, weight = state
        weight = weight * member
        carried = jnp.concatenate([now * weight[:, None], weight[:, None], member[:, None]], -1)
        corner = jnp.zeros((vertex_count, 5))
        for i in range(3):
            corner = corner.at[faces[:, i]].add(carried)
        around = jnp.mean(corner[faces], 1)
        mixed = around[:, :3] / jnp.maximum(around[:, 3:4], 1e-12)
        flowed = fade * around[:, 3] / jnp.maximum(around[:, 4], 1e-12)
        own = trust[:, None]
        blended = jnp.where(around[:, 3:4] > 1e-12, own * colours + (1.0 - own) * mixed, now)
        return blended, jnp.maximum(trust, flowed)

    return jax.lax.fori_loop(0, _ROUNDS, round_, (colours, trust))


def _sizes(vertices: Array, faces: Array) -> Array:
    """How far it is across each triangle [F], metres: the root of its area."""
    corners = vertices[jnp.asarray(faces)]
    normals = jnp.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return jnp.sqrt(0.5 * jnp.linalg.norm(normals, axis=-1))


def _part_colours(model: FlameModel, skin: Array) -> tuple[Array, Array, Array]:
    """Plain colour [F, 3] of every triangle, which have one of their own, and which are eyes (bool [F])."""
    faces, masks = jnp.asarray(model.faces), model.masks or {}
    colours = jnp.broadcast_to(skin, (len(faces), 3))
    own = jnp.zeros(len(faces), bool)
    eyes = jnp.zeros(len(faces), bool)
    for name, colour in _PARTS:
        if name in masks:
            member = jnp.all(jnp.asarray(masks[name])[faces], 1)
            colours = jnp.where(member[:, None], jnp.array(colour), colours)
            own |= member
            eyes |= member & (name in _EYES)
    return colours, own, eyes


def part_ids(model: FlameModel) -> Array:
    """Which inner part each triangle belongs to, int32 [F]: 0 is skin, also where nobody knows, MOUTH the
    pocket behind the lips, and higher numbers are tongue, teeth and eyes."""
    faces, masks = jnp.asarray(model.faces), model.masks or {}
    parts = jnp.zeros(len(faces), jnp.int32)
    for number, (name, _) in enumerate(_PARTS, 1):
        if name in masks and name not in ("iris", "pupil"):
            parts = jnp.where(jnp.all(jnp.asarray(masks[name])[faces], 1), number, parts)
    return parts


def _scalp(model: FlameModel) -> Array:
    """Which triangles [F] are scalp; none where the model does not mark it."""
    if not model.masks or "scalp" not in model.masks:
        return jnp.zeros(len(model.faces), bool)
    return jnp.any(jnp.asarray(model.masks["scalp"])[jnp.asarray(model.faces)], 1)


def hair_colour(
    model: FlameModel, portrait: Portrait, vertices: Array, scalp: Array, colours: Array, known: Array
) -> Array:
    """The colour [3] that the hidden scalp most likely has.

    That of the scalp's farthest part that is seen, which is skin on a bald head; and of the person's pixels
    above and beside the mesh, as far as there are enough.
    """
    faces, camera = jnp.asarray(model.faces), portrait.camera
    centroids = jnp.mean(vertices[faces], 1)
    back = centroids[:, 1] - centroids[:, 2]
    seen = known * scalp
    farthest = jnp.max(jnp.where(seen > 0.3, back, -jnp.inf))
    weight = seen * jnp.exp(jnp.clip((back - farthest) / _CROWN, -30.0, 0.0))
    crown = jnp.sum(weight[:, None] * colours, 0) / jnp.maximum(jnp.sum(weight), 1e-6)

    pixels, depth = project(camera, vertices)
    face_id, _, _ = zbuffer(pixels, depth, faces, camera.height, camera.width)
    middle = jnp.sum(project(camera, centroids)[0][:, 1] * scalp) / jnp.maximum(jnp.sum(scalp), 1)
    above = jnp.arange(camera.height)[:, None] < middle
    beside = ((face_id < 0) & above & (portrait.alpha > _COVERED[1])).astype(colours.dtype)
    mean = jnp.sum(portrait.rgb * beside[..., None], (0, 1)) / jnp.maximum(jnp.sum(beside), 1.0)
    share = jnp.clip(jnp.sum(beside) / jnp.maximum(_OUTSIDE * jnp.sum(face_id >= 0), 1.0), 0.0, 1.0)
    return jnp.where(jnp.sum(weight) > 1e-3, (1.0 - share) * crown + share * mean, mean)


def skin_below(model: FlameModel, vertices: Array, colours: Array, known: Array, plain: Array) -> Array:
    """Colours [F, 3] for the hidden neck and shoulders: what is seen of them at the same height.

    So a collar goes round, and does not climb up the nape. `plain` [F, 3] where the model marks no neck.
    """
    faces, masks = jnp.asarray(model.faces), model.masks or {}
    names = [name for name in ("neck", "boundary") if name in masks]
    if not names:
        return plain
    member = jnp.any(jnp.stack([jnp.all(jnp.asarray(masks[name])[faces], 1) for name in names]), 0)
    height = jnp.mean(vertices[faces], 1)[:, 1]
    low, high = (jnp.min(jnp.where(member, height, jnp.inf)), jnp.max(jnp.where(member, height, -jnp.inf)))
    grid = jnp.linspace(low, high, 64)
    # A little weight from afar, so that heights at which nothing is seen take the nearest that is.
    near = jnp.exp(-0.5 * ((grid[:, None] - height) / _LEVEL) ** 2)
    weight = (near + 1e-6 * jnp.exp(-jnp.abs(grid[:, None] - height) / _LEVEL)) * (known * member)
    total = jnp.sum(weight, 1)
    profile = (weight @ colours) / jnp.maximum(total, 1e-20)[:, None]
    around = jnp.stack([jnp.interp(height, grid, profile[:, c]) for c in range(3)], -1)
    return jnp.where(jnp.min(total) > 1e-12, around, plain)


def _fill(
    model: FlameModel,
    vertices: Array,
    colours: Array,
    known: Array,
    plain: Array,
    is_part: Array,
    hair: Array,
) -> Array:
    """Colours [F, 3] for what is not known: flowing in from around, and with the way turning into `hair` [3]
    on the scalp, elsewhere into what is seen of the neck at that height.

    Parts stay plain: a sliver of lip must not paint the mouth. The scalp takes colours from the scalp alone,
    or skin from the nape would climb up the back of the hair.
    """
    scalp = _scalp(model) & ~is_part
    filled = plain
    for region, hidden in (
        (scalp, jnp.broadcast_to(hair, plain.shape)),
        (~scalp & ~is_part, skin_below(model, vertices, colours, known, plain)),
    ):
        flowed, trust = spread(vertices, model.faces, colours, known, region)
        share = smoothstep(trust, *_FLOWED)[:, None]
        filled = jnp.where(region[:, None], share * flowed + (1.0 - share) * hidden, filled)
    return filled


def colours_from_portrait(
    avatar: Avatar, model: FlameModel, portrait: Portrait, *, hidden: Array | None = None
) -> Avatar:
    """The avatar with first colours (SH degree 0; higher bands zero) from the fitted portrait.

    Each Gaussian takes, as far as it can be trusted: the portrait's colour at its own place; else that
    at the mirrored triangle; else colours flowing in over the mesh from there; else its part's plain
    colour or the mean skin. Eyes, teeth and mouth take no colours from the skin around them. Meant to
    run once, under jit or not; colours are as in the portrait (sRGB), which the renderer blends as is.
    `hidden` [F, 3] are better colours for what the portrait does not show, if somebody knows them.
    """
    faces = jnp.asarray(model.faces)
    vertices, _ = forward(model, portrait.flame.replace(shape=avatar.shape))
    nearest = nearest_depth(portrait.camera, vertices, faces)
    face_colours = _face_colours(model, portrait, vertices, nearest) if hidden is None else hidden

    posed = pose(avatar, model, portrait.flame)
    exact, exact_trust = sample_visible(
        portrait, vertices, faces, posed.means, avatar.face_ids, nearest=nearest
    )
    exact_trust = exact_trust[:, None]
    colours = exact_trust * exact + (1.0 - exact_trust) * face_colours[avatar.face_ids]
    harmonics = jnp.zeros_like(avatar.gaussians.sh).at[:, 0].set(to_sh(colours))
    return avatar.replace(gaussians=avatar.gaussians.replace(sh=harmonics))


def _face_colours(model: FlameModel, portrait: Portrait, vertices: Array, nearest: Array) -> Array:
    """Colours [F, 3] of all triangles: seen, mirrored, flowing in, or plain."""
    faces = jnp.asarray(model.faces)
    count = faces.shape[0]
    centroids = jnp.mean(vertices[faces], 1)
    own, trust = sample_visible(portrait, vertices, faces, centroids, jnp.arange(count), nearest=nearest)

    partner = mirror_faces(model)
    borrowed = (1.0 - trust) * trust[partner]
    known = trust + borrowed
    mixed = (trust[:, None] * own + borrowed[:, None] * own[partner]) / jnp.maximum(known, 1e-6)[:, None]

    skin_mean = jnp.sum(mixed * known[:, None], 0) / jnp.maximum(jnp.sum(known), 1e-6)
    plain, is_part, is_eye = _part_colours(model, skin_mean)
    hair = hair_colour(model, portrait, vertices, _scalp(model) & ~is_part, mixed, known)
    hair = jnp.where(jnp.isfinite(hair).all() & (jnp.sum(hair) > 0), hair, skin_mean)
    filled = _fill(model, vertices, mixed, known, plain, is_part, hair)
    # Both eyes look the same way, so that an iris is no mirror image: eyes borrow nothing.
    believed = jnp.where(is_eye, trust, known)[:, None]
    chosen = jnp.where(is_eye[:, None], own, mixed)
    return believed * chosen + (1.0 - believed) * filled
