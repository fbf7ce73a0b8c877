"""The embedded small model: its config and its shipped weights."""

from __future__ import annotations

from zero1a_jax.diffusion.config import DiffusionConfig


def miniature_config() -> DiffusionConfig:
    """128x128 frames in 16x16 latents; sizes chosen for one CPU core (see the README of the weights)."""
    return DiffusionConfig(
        frame_size=128,
        condition="dense",
        vae_patch=4,
        vae_channels=(64, 128),
        vae_layers=1,
        vae_groups=8,
        latent_channels=24,
        latent_scale=1.0,
        unet_channels=(128, 192),
        unet_layers=1,
        unet_attention=(True, True),
        unet_heads=2,
        unet_feedforward=2,
        groups=8,
        context_channels=64,
        position_table=True,
        reference_pose=True,
        motion_levels=(False, True),
        motion_heads=4,
        motion_attentions=1,
        motion_feedforward=2,
        pose_patch=4,
        pose_channels=(64, 128),
        pose_kernels=(3, 4),
        pose_strides=(1, 2),
        pose_frequencies=4,
        pose_attention=False,
        pose_norm="none",
        clip_size=64,
        clip_patch=16,
        clip_channels=64,
        clip_feedforward=128,
        clip_layers=2,
        clip_heads=2,
    )


def load_miniature():
    raise ValueError
