"""A live viewer in the browser, through viser (the extra `viewer`). It answers this machine only."""

from zero1a_jax.outputs.viewer.loop import Followed, Live, serve
from zero1a_jax.outputs.viewer.scene import MODES, Scene, covariances, splats
from zero1a_jax.outputs.viewer.server import Server, start
from zero1a_jax.outputs.viewer.stage import Clip, Stage

__all__ = [
    "MODES",
    "Clip",
    "Followed",
    "Live",
    "Scene",
    "Server",
    "Stage",
    "covariances",
    "serve",
    "splats",
    "start",
]
