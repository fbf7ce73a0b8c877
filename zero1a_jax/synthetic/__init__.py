"""Synthetic people: a seed gives shape, look and motion; a textured mesh renderer gives their truth."""

from zero1a_jax.synthetic import motions
from zero1a_jax.synthetic.captions import caption
from zero1a_jax.synthetic.identities import Look, identity, textured
from zero1a_jax.synthetic.render import render
from zero1a_jax.synthetic.true_texture import true_texture

__all__ = ["Look", "caption", "identity", "motions", "render", "textured", "true_texture"]
