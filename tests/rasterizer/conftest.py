"""An independent rasterizer: numpy, float64, every pixel against every Gaussian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import sph_harm_y

from zero1a_jax import rasterizer
from zero1a_jax.types import Camera, Gaussians

# What the programs below are compiled for.
SIZE, HEIGHT, WIDTH, DEGREE, FEATURES, CAPACITY = 24, 28, 40, 1, 2, 480


def harmonics(directions, degree):
    """Real spherical harmonics with the Condon-Shortley phase, [N, (degree + 1)^2]."""
    x, y, z = directions.T
    theta, phi = np.arccos(np.clip(z, -1, 1)), np.arctan2(y, x)
    columns = []
    for n in range(degree + 1):
        for m in range(-n, n + 1):
            value = sph_harm_y(n, abs(m), theta, phi)
            part = value.imag if m < 0 else value.real
            columns.append(part if m == 0 else np.sqrt(2) * part)
    return np.stack(columns, 1)


def _rotations(quats):
    out = np.empty((len(quats), 3, 3))
    for i, (w, x, y, z) in enumerate(quats / np.linalg.norm(quats, axis=1, keepdims=True)):
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        out[i] = np.eye(3) + 2 * w * cross + 2 * cross @ cross
    return out


def brute_force(scene, height, width, antialiased=False):
    """rgb, alpha, depth of a dict of float64 arrays (the fields of Gaussians and Camera, and more)."""
    everything = brute_force_all(scene, height, width, antialiased=antialiased)
    return everything["rgb"], everything["alpha"], everything["depth"]


def brute_force_all(scene, height, width, *, antialiased=False, near=0.01, far=np.inf, radius_clip=0.0):
    """Every image that the rasterizer gives, by name; scene as above."""
    s = scene
    view, (fx, fy), (cx, cy) = s["world_to_camera"], s["focal"], s["center"]
    points = s["means"] @ view[:3, :3].T + view[:3, 3]
    order = np.argsort(points[:, 2], kind="stable")
    half = _rotations(s["quats"]) * np.exp(s["log_scales"])[:, None, :]
    towards = s["means"] - np.linalg.inv(view)[:3, 3]
    towards = towards / np.linalg.norm(towards, axis=1, keepdims=True)
    basis = harmonics(towards, round(np.sqrt(s["sh"].shape[1])) - 1)
    colours = np.maximum(np.einsum("nk,nkc->nc", basis, s["sh"]) + 0.5, 0)
    xs, ys = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    values = np.concatenate([colours, points[:, 2:], s["features"], np.ones((len(points), 1))], 1)
    sums = np.zeros((height, width, values.shape[1]))
    median, counts = np.zeros((height, width)), np.zeros((height, width), int)
    light, going = np.ones((height, width)), np.ones((height, width), bool)
    for i in order:
        px, py, pz = points[i]
        if pz <= near or pz >= far:
            continue
        low_x, high_x = -cx / fx - 0.15 * width / fx, (width - cx) / fx + 0.15 * width / fx
        low_y, high_y = -cy / fy - 0.15 * height / fy, (height - cy) / fy + 0.15 * height / fy
        tx, ty = np.clip(px / pz, low_x, high_x), np.clip(py / pz, low_y, high_y)
        jacobian = np.array([[fx / pz, 0, -fx * tx / pz], [0, fy / pz, -fy * ty / pz]])
        spread = jacobian @ view[:3, :3] @ half[i]
        before = spread @ spread.T
        after = before + 0.3 * np.eye(2)
        if 3 * np.sqrt(np.linalg.eigvalsh(after)[1]) <= radius_clip:
            continue
        opacity = 1 / (1 + np.exp(-s["opacity_logits"][i]))
        if antialiased:
            opacity *= np.sqrt(max(np.linalg.det(before) / np.linalg.det(after), 0))
        conic = np.linalg.inv(after)
        offset = s["screen_offset"][i]
        dx, dy = xs - (fx * px / pz + cx + offset[0]), ys - (fy * py / pz + cy + offset[1])
        sigma = 0.5 * (conic[0, 0] * dx * dx + 2 * conic[0, 1] * dx * dy + conic[1, 1] * dy * dy)
        a = np.minimum(0.99, opacity * np.exp(-sigma))
        a = np.where((a >= 1 / 255) & (sigma >= 0), a, 0)
        going &= light * (1 - a) > 1e-4
        weight = np.where(going, a * light, 0)
        behind = np.where(going, light * (1 - a), light)
        median = np.where((light > 0.5) & (behind <= 0.5), pz, median)
        light = behind
        sums += weight[..., None] * values[i]
        counts += weight > 0
    rgb, depth, features, alpha = sums[..., :3], sums[..., 3], sums[..., 4:-1], sums[..., -1]
    rgb = rgb + (1 - alpha)[..., None] * s["background"]
    images = {"rgb": rgb, "alpha": alpha, "depth": depth, "features": features}
    return images | {"median_depth": median, "counts": counts}


def random_scene(seed, size, degree, height, width, spread=0.3):
    """A cloud in front of a camera, as the dict that brute_force takes."""
    r = np.random.default_rng(seed)
    angle = 0.4 * r.normal(size=3)
    cross = np.array([[0, -angle[2], angle[1]], [angle[2], 0, -angle[0]], [-angle[1], angle[0], 0]])
    rotation = np.linalg.qr(np.eye(3) + cross)[0]
    view = np.eye(4)
    view[:3, :3] = rotation * np.sign(np.diag(rotation))
    view[:3, 3] = [0.02, -0.03, 1.5]
    return {
        "means": spread * r.uniform(-1, 1, (size, 3)),
        "log_scales": np.log(0.06) + 0.6 * r.normal(size=(size, 3)),
        "quats": r.normal(size=(size, 4)),
        "sh": r.normal(size=(size, (degree + 1) ** 2, 3)) * 0.6,
        "opacity_logits": 1.5 * r.normal(size=size),
        "world_to_camera": view,
        "focal": np.array([1.6 * width, 1.7 * width]),
        "center": np.array([0.48 * width, 0.53 * height]),
        "background": r.uniform(size=3),
        "screen_offset": np.zeros((size, 2)),
        "features": r.normal(size=(size, 2)),
    }


@pytest.fixture(scope="session")
def reference_render():
    return brute_force


@pytest.fixture(scope="session")
def reference_images():
    return brute_force_all


@pytest.fixture(scope="session")
def make_scene():
    return random_scene


@pytest.fixture(scope="session")
def reference_harmonics():
    return harmonics


class Program:
    """One compiled program with everything that render and inspect offer, shared by the tests' files."""

    shape = (HEIGHT, WIDTH)
    cotangent = np.random.default_rng(9).normal(size=(HEIGHT, WIDTH, 5 + FEATURES)).astype(np.float32)

    @staticmethod
    def scene(seed):
        return random_scene(seed, SIZE, DEGREE, HEIGHT, WIDTH)

    @staticmethod
    def split(scene):
        """Gaussians, camera, background, screen offset and features of a scene, float32."""
        scene = {k: jnp.asarray(v, jnp.float32) for k, v in scene.items()}
        gaussians = Gaussians(*(scene[k] for k in Gaussians.__dataclass_fields__))
        camera = Camera(*(scene[k] for k in ("world_to_camera", "focal", "center")), HEIGHT, WIDTH)
        return gaussians, camera, *(scene[k] for k in ("background", "screen_offset", "features"))

    @staticmethod
    def stack(images):
        """All images that have a gradient, [H, W, 5 + FEATURES]; of a Render or a dict."""
        rgb, alpha, depth, features = (
            images[k] if isinstance(images, dict) else getattr(images, k)
            for k in ("rgb", "alpha", "depth", "features")
        )
        xp = np if isinstance(rgb, np.ndarray) else jnp
        return xp.concatenate([rgb, alpha[..., None], depth[..., None], features], -1)

    @classmethod
    def _loss(cls, gaussians, camera, background, offset, features, culling):
        out = rasterizer.render(
            gaussians,
            camera,
            background=background,
            screen_offset=offset,
            absolute_gradient=True,
            features=features,
            capacity=CAPACITY,
            **culling,
        )
        seen = rasterizer.inspect(gaussians, camera, capacity=CAPACITY, **culling)
        return jnp.sum(cls.stack(out) * cls.cotangent), (out, seen)

    def __init__(self):
        self._step = jax.jit(jax.value_and_grad(self._loss, (0, 1, 2, 3, 4), has_aux=True))

    def __call__(self, scene, *, near=0.01, far=np.inf, radius_clip=0.0):
        """loss, Render, Inspection, and the gradients by the scene's names."""
        culling = {"near": near, "far": far, "radius_clip": radius_clip}
        (loss, (out, seen)), gradients = self._step(*self.split(scene), culling)
        named = {k: getattr(gradients[0], k) for k in Gaussians.__dataclass_fields__}
        named |= {k: getattr(gradients[1], k) for k in ("world_to_camera", "focal", "center")}
        named |= dict(zip(("background", "screen_offset", "features"), gradients[2:], strict=True))
        return loss, out, seen, named


@pytest.fixture(scope="session")
def program():
    return Program()
