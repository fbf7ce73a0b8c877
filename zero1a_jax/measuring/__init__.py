"""Avatars measured: against the truth of synthetic people, against a capture, and on their own."""
