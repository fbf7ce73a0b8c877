"""A run: its parts, its loop, its folder, and what it leaves."""
