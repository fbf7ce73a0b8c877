"""The forward pass against smplx and GaussianAvatars in float64, and its behaviour at rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zero1a_jax.flame import add_teeth, forward, frame_target, procedural_head, zero_params
from zero1a_jax.types import FlameParams

posed = jax.jit(forward)


def params_of(arrays, rows=slice(None), dtype=np.float32) -> FlameParams:
    pick = {k[3:]: a[rows].astype(dtype) for k, a in arrays.items() if k.startswith("in_")}
    return FlameParams(
        shape=pick["betas"],
        expression=pick["expression"],
        rotation=pick["global_orient"],
        neck=pick["neck_pose"],
        jaw=pick["jaw_pose"],
        eyes=np.stack([pick["leye_pose"], pick["reye_pose"]], 1),
        translation=pick["transl"],
    )


@pytest.fixture(scope="module")
def smplx(reference):
    return reference("flame/flame_smplx.npz")


@pytest.fixture(scope="module")
def head(reference_model, smplx):
    return reference_model(smplx["in_betas"].shape[1])


@pytest.mark.parity
def test_vertices_and_joints_in_float32(head, smplx):
    vertices, joints = posed(head, params_of(smplx))
    assert vertices.dtype == jnp.float32
    np.testing.assert_allclose(vertices, smplx["out_vertices_f64"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(joints, smplx["out_joints_f64"], rtol=0, atol=1e-6)


@pytest.mark.parity
def test_vertices_and_joints_in_float64(reference_model, smplx):
    with jax.enable_x64(True):
        head = reference_model(smplx["in_betas"].shape[1], np.float64)
        vertices, joints = posed(head, params_of(smplx, dtype=np.float64))
        np.testing.assert_allclose(vertices, smplx["out_vertices_f64"], rtol=0, atol=2e-8)
        np.testing.assert_allclose(joints, smplx["out_joints_f64"], rtol=0, atol=2e-8)


@pytest.mark.parity
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 5e-8), (np.float32, 1e-4)])
def test_gradients(reference_model, reference, smplx, dtype, tolerance):
    expected = reference("flame/flame_grad.npz")
    with jax.enable_x64(dtype == np.float64):
        head = reference_model(smplx["in_betas"].shape[1], dtype)
        params = params_of(smplx, expected["rows"], dtype)
        cotangent = expected["cotangent"].astype(dtype)
        found = jax.jit(jax.grad(lambda p: jnp.sum(cotangent * forward(head, p)[0])))(params)
    names = {
        "shape": "betas",
        "expression": "expression",
        "rotation": "global_orient",
        "neck": "neck_pose",
        "jaw": "jaw_pose",
        "translation": "transl",
    }
    pairs = [(getattr(found, field), expected[f"grad_{name}"]) for field, name in names.items()]
    pairs += [(found.eyes[:, 0], expected["grad_leye_pose"]), (found.eyes[:, 1], expected["grad_reye_pose"])]
    for value, truth in pairs:
        np.testing.assert_allclose(value, truth, rtol=0, atol=tolerance * np.abs(truth).max())


@pytest.mark.parity
def test_a_static_offset_belongs_to_the_template(head, smplx, reference):
    expected = reference("flame/flame_gaussianavatars.npz")
    params = params_of(smplx, expected["rows"])
    still, joints = posed(head, params)
    np.testing.assert_allclose(still, expected["verts"], rtol=0, atol=1e-6)
    worn = head.replace(template=head.template + expected["static_offset"][0])
    moved, _ = posed(worn, params)
    np.testing.assert_allclose(moved, expected["verts_offset"], rtol=0, atol=1e-6)
    root = joints[:, :1] - params.translation[:, None]
    np.testing.assert_allclose(still - root, expected["verts_zero_centred"], rtol=0, atol=1e-6)


@pytest.mark.parity
def test_teeth(head, smplx, reference):
    expected = reference("flame/flame_gaussianavatars.npz")
    count = len(head.template)
    model = add_teeth(head, expected["teeth_lip_upper"], expected["teeth_lip_lower"])
    np.testing.assert_allclose(model.template[count:], expected["teeth_v_template"], rtol=0, atol=1e-6)
    columns = expected["teeth_shapedirs_shape0"].shape[-1]
    np.testing.assert_allclose(
        model.shape_basis[count:, :, :columns], expected["teeth_shapedirs_shape0"], rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(model.skinning[count:], expected["teeth_weights"])
    np.testing.assert_array_equal(model.faces[len(head.faces) :], expected["teeth_faces"])
    np.testing.assert_array_equal(model.uv_faces[len(head.faces) :], expected["teeth_textures_idx"])
    np.testing.assert_allclose(model.uv[len(head.uv) :], expected["teeth_uvs"], rtol=0, atol=1e-6)
    # The reference wore its static offset here, padded with zeros for the teeth: it moves the joints.
    template = model.template.copy()
    template[:count] += expected["static_offset"][0]
    vertices, _ = posed(model.replace(template=template), params_of(smplx, expected["rows"]))
    np.testing.assert_allclose(vertices[:, count:], expected["teeth_verts"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(np.flatnonzero(model.masks["teeth"]), np.arange(count, len(model.template)))


def test_teeth_refuse_a_wrong_ring(head):
    with pytest.raises(ValueError, match="two rings of 15"):
        add_teeth(head, np.arange(14), np.arange(14))


def test_rest_pose_is_the_template_with_finite_gradients():
    model = procedural_head()
    params = zero_params(model)
    vertices, joints = posed(model, params)
    np.testing.assert_allclose(vertices, model.template, rtol=0, atol=1e-6)
    assert joints.shape == (5, 3)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(forward(model, p)[0] ** 2)))(params)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradient))
    assert float(jnp.abs(gradient.jaw).max()) > 0


def test_jaw_gradient_at_zero_is_the_finite_difference(head):
    params = zero_params(head)
    weights = np.random.default_rng(0).normal(size=head.template.shape).astype(np.float32)

    @jax.jit
    def value(jaw):
        return jnp.sum(weights * forward(head, params.replace(jaw=jaw))[0])

    gradient = jax.grad(value)(jnp.zeros(3))
    step = 1e-2
    difference = [(value(step * e) - value(-step * e)) / (2 * step) for e in np.eye(3, dtype=np.float32)]
    np.testing.assert_allclose(gradient, difference, rtol=2e-3, atol=2e-3 * np.abs(gradient).max())


def test_leading_axes_broadcast_and_prefixes_pad(head):
    rng = np.random.default_rng(1)
    full = zero_params(head, (2, 3))
    full = jax.tree.map(lambda leaf: (0.3 * rng.normal(size=leaf.shape)).astype(np.float32), full)
    one = full.replace(shape=full.shape[0, 0])  # one identity for all frames
    vertices, joints = posed(head, one)
    assert vertices.shape == (2, 3, *head.template.shape) and joints.shape == (2, 3, 5, 3)
    single, _ = posed(head, jax.tree.map(lambda leaf: leaf[1, 2], full).replace(shape=one.shape))
    np.testing.assert_allclose(vertices[1, 2], single, rtol=0, atol=1e-6)

    short = one.replace(shape=one.shape[:4], expression=one.expression[..., :3])
    padded = one.replace(
        shape=one.shape * (np.arange(one.shape.shape[-1]) < 4),
        expression=one.expression * (np.arange(one.expression.shape[-1]) < 3),
    )
    np.testing.assert_allclose(posed(head, short)[0], posed(head, padded)[0], rtol=0, atol=1e-6)


def test_too_many_coefficients_are_refused(head):
    params = zero_params(head)
    with pytest.raises(ValueError, match="cut them off"):
        forward(head, params.replace(shape=jnp.zeros(head.shape_basis.shape[-1] + 1)))


def test_translation_moves_all_and_root_turns_about_its_joint(head):
    params = zero_params(head)
    _, rest = posed(head, params)
    moved, joints = posed(head, params.replace(translation=jnp.array([0.1, -0.2, 0.3])))
    np.testing.assert_allclose(
        moved - head.template, np.broadcast_to([0.1, -0.2, 0.3], moved.shape), atol=1e-6
    )
    _, turned = posed(head, params.replace(rotation=jnp.array([0.4, 1.0, -0.3])))
    np.testing.assert_allclose(turned[0], rest[0], atol=1e-6)
    assert float(jnp.abs(turned[1:] - rest[1:]).max()) > 1e-3


def test_frame_target_is_inside_the_head():
    model = procedural_head()
    target = jax.jit(frame_target)(model, jnp.zeros((2, model.shape_basis.shape[-1])))
    assert target.shape == (2, 3)
    low, high = model.template.min(0), model.template.max(0)
    assert np.all(target[0] > low) and np.all(target[0] < high) and abs(float(target[0, 0])) < 1e-3
