"""What leaves the program: .ply, folders of avatars, videos, reports, a viewer. Host only."""

from zero1a_jax.outputs import glb, ply, report, video, viewer
from zero1a_jax.outputs.export import AVATAR_FILES, check_model, load_avatar, save_avatar

__all__ = [
    "AVATAR_FILES",
    "check_model",
    "glb",
    "load_avatar",
    "ply",
    "report",
    "save_avatar",
    "video",
    "viewer",
]
