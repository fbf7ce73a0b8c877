"""What the user gave cannot be used: the only errors that a command turns into a sentence."""

from __future__ import annotations


class Refused(ValueError):
    """A flag, a file or a folder that cannot be used; the text is a sentence that says what to do.

    Everything else that is raised is a fault of this program and keeps its traceback.
    """


class NoFace(Refused):
    """A picture in which no face was found."""
