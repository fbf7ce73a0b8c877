"""Rotations, cameras and meshes: the geometry below everything else."""

from zero1a_jax.geometry.cameras import crop, look_at, orbit, portrait_camera, position, project, resize
from zero1a_jax.geometry.meshes import at_points, face_normals, triangle_frames, vertex_normals
from zero1a_jax.geometry.rotations import (
    axis_angle_to_matrix,
    axis_angle_to_quat,
    euler_xyz_to_matrix,
    matrix_to_axis_angle,
    matrix_to_quat,
    quat_multiply,
    quat_normalize,
    quat_rotate,
    quat_to_axis_angle,
    quat_to_matrix,
)
from zero1a_jax.geometry.zbuffer import zbuffer

__all__ = [
    "at_points",
    "axis_angle_to_matrix",
    "axis_angle_to_quat",
    "crop",
    "euler_xyz_to_matrix",
    "face_normals",
    "look_at",
    "matrix_to_axis_angle",
    "matrix_to_quat",
    "orbit",
    "portrait_camera",
    "position",
    "project",
    "quat_multiply",
    "quat_normalize",
    "quat_rotate",
    "quat_to_axis_angle",
    "quat_to_matrix",
    "resize",
    "triangle_frames",
    "vertex_normals",
    "zbuffer",
]
