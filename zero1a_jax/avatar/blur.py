"""An avatar in pictures larger than the frames that it learned from.

Frames do not tell what is finer than their pixels. There Gaussians are needles, and larger pictures would
show them.
"""

from __future__ import annotations

import jax.numpy as jnp

from zero1a_jax.avatar.bind import pose
from zero1a_jax.avatar.colours import part_ids
from zero1a_jax.types import Array, Avatar, FlameModel, FlameParams, Gaussians


def pose_blurred(avatar: Avatar, model: FlameModel, params: FlameParams, blur: Array | float) -> Gaussians:
    """As `pose`, with the skin's Gaussians blurred by a standard deviation of `blur` metres, which may be 0.

    Eyes, teeth and the mouth's inside stay sharp: they lie right behind skin, and would come through it. It
    is the smoothing filter of Mip-Splatting (Yu et al., arXiv 2311.16493), but put on afterwards.
    """
    posed = pose(avatar, model, params)
    wide = 0.5 * jnp.logaddexp(2.0 * posed.log_scales, 2.0 * jnp.log(blur))
    skin = part_ids(model)[avatar.face_ids] == 0
    return posed.replace(log_scales=jnp.where(skin[:, None], wide, posed.log_scales))
