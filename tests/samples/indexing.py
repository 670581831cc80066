import numpy as np

from babygrad import ops
from samples import Sample, normal

IDS = np.array([[0, 2, 2], [1, 0, 2]])


def assigned(index):
    """y = a * a with y[index] = value, and what was computed from y before."""

    def call(a, value):
        y = ops.square(a)
        before = y * 2
        y[index] = value
        return before, ops.square(y)

    return call


SAMPLES = [
    Sample("getitem", lambda a: a[1], normal(3)),
    Sample("getitem", lambda a: a[1:, ::-2], normal(3, 4)),
    Sample("getitem", lambda a: a[..., None, -1], normal(2, 3)),
    Sample("getitem", lambda a: a[[0, 0, 1]], normal(3, 2)),
    Sample("getitem", lambda a: a[[0, -1], [2, 2]], normal(2, 3)),
    Sample("getitem", lambda a: a[:, IDS], normal(2, 3)),
    Sample("getitem", lambda a: a[np.array([True, False, True])], normal(3, 2)),
    Sample("getitem", lambda a: a[IDS[0], 1:, 0], normal(3, 3, 2)),
    Sample("getitem", lambda a: a[[]], normal(3)),
    Sample("setitem", assigned((slice(None), 1)), normal(2, 3), normal(2)),
    Sample("setitem", assigned(0), normal(2, 3), normal()),
    Sample("setitem", assigned(([0, 0, 1],)), normal(2, 3), normal(1, 3, 1)),
    Sample("setitem", assigned(np.array([True, False])), normal(2, 3), normal(1, 1, 3)),
    Sample("take", lambda a: ops.take(a, IDS, 1), normal(2, 3)),
    Sample("take", lambda a: ops.take(a, [0, 5, 5]), normal(2, 3)),
    Sample("gather", lambda a: ops.gather(a, 0, IDS), normal(3, 3)),
    Sample("gather", lambda a: ops.gather(a, 1, IDS[:, :1]), normal(3, 4)),
    Sample("scatter_add", lambda a, b: ops.scatter_add(a, 0, IDS, b), normal(3, 4), normal(2, 3)),
    Sample("scatter_add", lambda a, b: ops.scatter_add(a, 1, IDS, b), normal(2, 3), normal(3, 3)),
]
