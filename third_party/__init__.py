"""Doors to other people's files: manifests of what they are, converters that read them. No weights."""
