"""Finished avatars: rendered along poses and motions, and measured against the truth."""
