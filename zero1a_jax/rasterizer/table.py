"""The table that the kernels composite: a row a Gaussian, and which of its columns holds what."""

from __future__ import annotations

import enum

import numpy as np


class Column(enum.IntEnum):
    """The columns, in the order of `project.Splats`. Features follow the last one."""

    X = 0
    Y = 1
    L00 = 2
    L01 = 3
    L11 = 4
    LOG_OPACITY = 5
    RED = 6
    GREEN = 7
    BLUE = 8
    DEPTH = 9


FACTOR = slice(Column.L00, Column.L11 + 1)  # the Cholesky factor of the conic
SHAPE_FIELDS = Column.RED.value  # what says where a Gaussian is drawn; the rest are values to composite
ABSENT = np.float32(-1e4)  # log opacity of a row that is not there, past a list's end
