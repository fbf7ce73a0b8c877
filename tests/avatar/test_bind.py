"""How an avatar starts and how it is posed, against GaussianAvatars' rigging."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.avatar import bind, pose, to_world
from zero1a_jax.flame import forward, zero_params
from zero1a_jax.geometry import quat_to_matrix, triangle_frames
from zero1a_jax.types import Avatar, Gaussians


def rigged(arrays, capacity=None) -> Avatar:
    """The avatar of rigging.npz, padded with dead slots up to `capacity`."""
    count = len(arrays["binding"])
    more = (capacity or count) - count

    def pad(value):
        return jnp.asarray(np.concatenate([value, np.zeros((more, *value.shape[1:]), value.dtype)]))

    gaussians = Gaussians(
        means=pad(arrays["local_xyz"]),
        log_scales=pad(arrays["local_log_scaling"]),
        quats=pad(arrays["local_rotation_wxyz"]),
        sh=jnp.zeros((count + more, 1, 3)),
        opacity_logits=pad(arrays["local_opacity_logit"][:, 0]),
    )
    return Avatar(
        gaussians, pad(arrays["binding"].astype(np.int32)), jnp.arange(count + more) < count, jnp.zeros(1)
    )


@pytest.fixture(scope="module")
def head(reference_model):
    return reference_model(300)


@pytest.fixture(scope="module")
def params(head):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: (0.2 * rng.normal(size=x.shape)).astype(np.float32), zero_params(head))


@pytest.mark.parity
def test_world_gaussians(reference):
    arrays = reference("flame/rigging.npz")
    world = jax.jit(to_world)(rigged(arrays), arrays["verts"], arrays["faces"])
    scale = np.asarray(jnp.exp(world.log_scales), np.float64)
    rotation = np.asarray(quat_to_matrix(world.quats), np.float64)
    np.testing.assert_allclose(world.means, arrays["global_xyz"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(scale, arrays["global_scaling"], rtol=1e-6)
    truth = np.asarray(quat_to_matrix(arrays["global_rotation_wxyz"]))
    np.testing.assert_allclose(rotation, truth, rtol=0, atol=2e-6)
    np.testing.assert_allclose(
        jax.nn.sigmoid(world.opacity_logits), arrays["global_opacity"][:, 0], rtol=0, atol=1e-6
    )
    covariance = np.einsum("nij,nj,nkj->nik", rotation, scale**2, rotation)
    upper = covariance[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
    truth = arrays["covariance6"]
    np.testing.assert_allclose(upper, truth, rtol=0, atol=1e-5 * np.abs(truth).max())


def test_a_new_avatar_covers_its_triangles(head):
    faces = len(head.faces)
    shape = 0.3 * np.random.default_rng(0).normal(size=300).astype(np.float32)
    avatar = bind(jax.random.key(0), head, shape, capacity=faces + 50, degree=2, opacity=0.3)
    assert avatar.gaussians.means.shape == (faces + 50, 3) and avatar.gaussians.sh.shape == (faces + 50, 9, 3)
    np.testing.assert_array_equal(avatar.face_ids[:faces], np.arange(faces))
    assert int(avatar.alive.sum()) == faces and bool(avatar.alive[:faces].all())
    np.testing.assert_allclose(jax.nn.sigmoid(avatar.gaussians.opacity_logits), 0.3, rtol=1e-5)
    np.testing.assert_array_equal(avatar.gaussians.means, 0)

    # An ellipse `spread` times the triangle's own second moments, flat along its normal.
    world = jax.jit(pose)(avatar, head, zero_params(head))
    vertices = forward(head, zero_params(head).replace(shape=shape))[0]
    corners = np.asarray(vertices, np.float64)[head.faces]
    centred = corners - corners.mean(1, keepdims=True)
    np.testing.assert_allclose(world.means[:faces], corners.mean(1), atol=1e-6)
    wanted = 2.0**2 * np.einsum("fci,fcj->fij", centred, centred) / 12
    rotation, scale = quat_to_matrix(world.quats), jnp.exp(world.log_scales)
    found = np.einsum("nij,nj,nkj->nik", rotation, np.square(scale), rotation)[:faces]
    _, frame, size = triangle_frames(vertices, head.faces)
    in_plane = np.asarray(frame)[:, :, [0, 2]]
    flat = lambda m: np.einsum("fia,fij,fjb->fab", in_plane, m, in_plane) / np.square(size)[:, None, None]  # noqa: E731
    short = np.linalg.eigvalsh(flat(wanted)).max(-1) < 0.6**2  # longer ones are cut off there
    assert short.sum() > 5
    np.testing.assert_allclose(flat(found)[short], flat(wanted)[short], atol=1e-4)
    np.testing.assert_array_less(np.asarray(avatar.gaussians.log_scales), np.log(0.6) + 1e-5)
    normal = np.einsum("fi,fij,fj->f", frame[..., 1], found, frame[..., 1])
    np.testing.assert_allclose(normal, np.square(0.1 * np.asarray(size)), rtol=1e-3)


def test_extra_gaussians_lie_inside_triangles_by_area(head):
    faces = len(head.faces)
    avatar = bind(jax.random.key(1), head, jnp.zeros(300), capacity=4 * faces, count=3 * faces)
    assert int(avatar.alive.sum()) == 3 * faces
    extra = slice(faces, 3 * faces)
    vertices = jnp.asarray(head.template)
    origin, frame, scale = triangle_frames(vertices, head.faces)
    ids = np.asarray(avatar.face_ids[extra])
    points = origin[ids] + scale[ids, None] * jnp.einsum(
        "nij,nj->ni", frame[ids], avatar.gaussians.means[extra]
    )
    corners = np.asarray(vertices)[np.asarray(head.faces)[ids]]
    inverse = np.linalg.pinv(np.concatenate([corners.transpose(0, 2, 1), np.ones((len(ids), 1, 3))], 1))
    weights = np.einsum("nij,nj->ni", inverse, np.concatenate([points, np.ones((len(ids), 1))], 1))
    thin = (
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1) < 1e-5
    )
    assert weights[~thin].min() > -2e-2
    a, b, c = np.asarray(vertices)[np.asarray(head.faces)].transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=-1)
    wanted = 2 * faces * areas / areas.sum()
    assert np.all(np.abs(np.bincount(ids, minlength=faces) - wanted) < 1.01)


def test_binding_is_deterministic_and_checked(head):
    faces = len(head.faces)
    make = lambda seed: bind(jax.random.key(seed), head, jnp.zeros(300), capacity=2 * faces, count=2 * faces)  # noqa: E731
    first, again, other = make(0), make(0), make(1)
    np.testing.assert_array_equal(first.gaussians.means, again.gaussians.means)
    assert float(jnp.abs(first.gaussians.means - other.gaussians.means).max()) > 0
    with pytest.raises(ValueError, match="raise the capacity"):
        bind(jax.random.key(0), head, jnp.zeros(300), capacity=faces - 1)
    with pytest.raises(ValueError, match="degree"):
        bind(jax.random.key(0), head, jnp.zeros(300), capacity=faces, degree=4)


def test_dead_slots_are_harmless_and_the_identity_is_the_avatars(head, params):
    faces = len(head.faces)
    avatar = bind(jax.random.key(0), head, 0.1 * jnp.ones(300), capacity=faces + 9)
    world = jax.jit(pose)(avatar, head, params)
    np.testing.assert_array_equal(world.opacity_logits[faces:], -30.0)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(world))
    stranger = jax.jit(pose)(avatar, head, params.replace(shape=params.shape + 1.0))
    np.testing.assert_array_equal(world.means, stranger.means)
    batch = jax.tree.map(lambda x: jnp.stack([x, x]), params)
    many = jax.jit(jax.vmap(pose, (None, None, 0)))(avatar, head, batch)
    np.testing.assert_allclose(many.means[1], world.means, atol=1e-6)


def test_gradients_reach_gaussians_and_pose(head, params):
    faces = len(head.faces)
    avatar = bind(jax.random.key(0), head, jnp.zeros(300), capacity=faces + 3)

    @jax.jit
    def total(gaussians, p):
        world = pose(avatar.replace(gaussians=gaussians), head, p)
        return sum(jnp.sum(jnp.sin(3 * leaf)) for leaf in jax.tree.leaves(world)) / faces

    by_gaussians, by_params = jax.jit(jax.grad(total, (0, 1)))(avatar.gaussians, params)
    leaves = jax.tree.leaves((by_gaussians, by_params))
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in leaves)
    step = jnp.array([0.0, 2e-3, 0.0])
    ends = [total(avatar.gaussians, params.replace(jaw=params.jaw + s)) for s in (step, -step)]
    np.testing.assert_allclose(by_params.jaw[1], (ends[0] - ends[1]) / 4e-3, rtol=0.05, atol=1e-3)
    assert float(jnp.abs(by_gaussians.opacity_logits[faces:]).max()) == 0
