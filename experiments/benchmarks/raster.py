"""The rasterizer's time on a head-like shell of Gaussians, beside another one where its file is given.

On one core: taskset -c 0 python -m experiments.benchmarks.raster --peer=path/to/xla.py
The peer is a Python file with make(width, height, 8, 8, lanes, unroll, capacity), which returns
render(means, quats, scales, opacities, colours, view, intrinsics, background) -> ([4, H, W], count).
Ratios come first: ours over the peer's, medians, interleaved in one run.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments import memory
from zero1a_jax import rasterizer
from zero1a_jax.types import Camera, Gaussians

_PEER = flags.DEFINE_string("peer", None, "a Python file with another rasterizer, see above")
_CASES = flags.DEFINE_list("cases", ["10000@128", "10000@512", "50000@512"], "Gaussians@pixels")
_REPEATS = flags.DEFINE_integer("repeats", 15, "timed calls; the median counts", lower_bound=1)
_CLOCK = flags.DEFINE_enum(
    "clock", "wall", ["wall", "cpu"], "cpu: the process's own time, for a busy machine"
)
_CAMERAS = flags.DEFINE_integer("cameras", 4, "cameras of the batch that is compared with a loop")


def shell(size: int, pixels: int, seed: int = 0) -> tuple[Gaussians, Camera]:
    """Flat Gaussians tangent to a bumpy ellipsoid, median radius 4 px, and a camera that it fills."""
    r = np.random.default_rng(seed)
    axes = np.array([0.78, 1.0, 0.88])
    unit = r.normal(size=(size, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    bumps = 1 + 0.05 * np.sin(7 * unit[:, :1]) * np.cos(5 * unit[:, 1:2])
    normal = unit / axes
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    # The rotation that takes z to the normal, after a random turn about z.
    lift = np.stack([1 + normal[:, 2], -normal[:, 1], normal[:, 0], np.zeros(size)], 1)
    half = r.uniform(0, np.pi, size)
    c, s = np.cos(half), np.sin(half)
    w, x, y, _ = lift.T
    quats = np.stack([w * c, x * c + y * s, y * c - x * s, w * s], 1)
    distance = 6.0
    focal = 0.42 * pixels * distance
    long = 1.1 * distance / focal * np.exp(0.35 * r.normal(size=size))
    scales = np.stack([long, long * r.uniform(0.5, 1, size), 0.1 * long], 1)
    view = np.eye(4)
    view[:3, :3] = [[np.cos(0.3), 0, np.sin(0.3)], [0, 1, 0], [-np.sin(0.3), 0, np.cos(0.3)]]
    view[2, 3] = distance
    gaussians = Gaussians(
        means=unit * axes * bumps,
        log_scales=np.log(scales),
        quats=quats,
        sh=r.normal(size=(size, 1, 3)),
        opacity_logits=1 + 1.5 * r.normal(size=size),
    )
    camera = Camera(view, np.full(2, focal), np.full(2, pixels / 2), height=pixels, width=pixels)
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), (gaussians, camera))


def _ours(gaussians: Gaussians, camera: Camera, capacity: int) -> tuple[Callable, Callable]:
    weights = np.random.default_rng(1).normal(size=(camera.height, camera.width, 5)).astype(np.float32)

    def images(gaussians: Gaussians, camera: Camera) -> tuple:
        out = rasterizer.render(gaussians, camera, background=jnp.full(3, 0.2), capacity=capacity)
        return out.rgb, out.alpha, out.depth

    def loss(gaussians: Gaussians, camera: Camera) -> jax.Array:
        rgb, alpha, depth = images(gaussians, camera)
        return jnp.sum(rgb * weights[..., :3]) + jnp.sum(alpha * weights[..., 3] + depth * weights[..., 4])

    return jax.jit(images), jax.jit(jax.grad(loss))


def _peer(path: str, gaussians: Gaussians, camera: Camera, capacity: int) -> tuple[Callable, Callable]:
    spec = importlib.util.spec_from_file_location("peer", path)
    if spec is None or spec.loader is None:
        raise app.UsageError(f"--peer={path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    render = module.make(camera.width, camera.height, 8, 8, 64, 4, capacity)
    weights = np.random.default_rng(1).normal(size=(4, camera.height, camera.width)).astype(np.float32)
    (fx, fy), (cx, cy) = np.asarray(camera.focal), np.asarray(camera.center)
    matrix = jnp.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    fixed = (camera.world_to_camera, matrix, jnp.full(3, 0.2))
    constrained = (
        gaussians.means,
        gaussians.quats,
        jnp.exp(gaussians.log_scales),
        jax.nn.sigmoid(gaussians.opacity_logits),
        jnp.maximum(0.2820948 * gaussians.sh[:, 0] + 0.5, 0),
    )
    image = jax.jit(lambda *a: render(*a)[0])
    gradient = jax.jit(jax.grad(lambda *a: jnp.sum(render(*a)[0] * weights), (0, 1, 2, 3, 4)))
    return lambda: image(*constrained, *fixed), lambda: gradient(*constrained, *fixed)


def _medians(programs: dict[str, Callable], repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    """Milliseconds a call, the programs taking turns."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for repeat in range(repeats + 2):
        for name, program in programs.items():
            start = clock()
            jax.block_until_ready(program())
            if repeat >= 2:  # the first compiles, the second settles
                times[name].append(1e3 * (clock() - start))
    return {name: float(np.median(values)) for name, values in times.items()}


def main(argv: Sequence[str]) -> None:
    """Prints the table."""
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
    memory.reuse_freed_memory()
    clock = time.process_time if _CLOCK.value == "cpu" else time.perf_counter
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {_CLOCK.value} clock, ms (medians)")
    print("case | forward ratio | gradient ratio | batch over loop | forward | gradient | peer's two")
    for case in _CASES.value:
        size, pixels = map(int, case.split("@"))
        gaussians, camera = shell(size, pixels)
        capacity = rasterizer.suggest_capacity(gaussians, camera)
        forward, gradient = _ours(gaussians, camera, capacity)
        batch = jax.tree.map(lambda x: jnp.stack([x] * _CAMERAS.value), camera)

        def loop(gradient=gradient, gaussians=gaussians, camera=camera):
            return [gradient(gaussians, camera) for _ in range(_CAMERAS.value)]

        programs = {
            "forward": lambda f=forward, a=(gaussians, camera): f(*a),
            "gradient": lambda f=gradient, a=(gaussians, camera): f(*a),
            "loop": loop,
            "batch": lambda f=gradient, a=(gaussians, batch): f(*a),
        }
        if _PEER.value:
            programs["peer f"], programs["peer g"] = _peer(_PEER.value, gaussians, camera, capacity)
        t = _medians(programs, _REPEATS.value, clock)
        ratios = [f"{t[a] / t[b]:.2f}" if b in t else "-" for a, b in _RATIOS]
        figures = [f"{t[name]:.1f}" for name in ("forward", "gradient", "peer f", "peer g") if name in t]
        print(" | ".join([f"{case} (capacity {capacity})", *ratios, *figures]), flush=True)


_RATIOS = (("forward", "peer f"), ("gradient", "peer g"), ("batch", "loop"))

if __name__ == "__main__":
    app.run(main)
