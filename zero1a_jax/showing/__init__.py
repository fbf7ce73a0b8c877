"""Finished avatars, rendered along poses and motions and made into what leaves as files."""
