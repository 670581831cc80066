from functools import partial

from babygrad import ops
from samples import Sample, normal


def einsum(equation):
    return lambda *operands: ops.einsum(equation, *operands)


SAMPLES = [
    Sample("matmul", ops.matmul, normal(3), normal(3)),
    Sample("matmul", ops.matmul, normal(2, 3), normal(3)),
    Sample("matmul", ops.matmul, normal(3), normal(3, 2)),
    Sample("matmul", ops.matmul, normal(2, 3), normal(3, 2)),
    Sample("matmul", ops.matmul, normal(2, 2, 3), normal(3, 2)),
    Sample("matmul", ops.matmul, normal(3), normal(2, 3, 2)),
    Sample("matmul", ops.matmul, normal(1, 2, 3), normal(2, 3, 1)),
    Sample("matmul", ops.matmul, normal(2, 1, 2, 3), normal(3, 3, 1)),
    Sample("matmul", lambda a: a @ a.T, normal(2, 3)),
    Sample("linear", ops.linear, normal(2, 3), normal(3, 2), normal(2)),
    Sample("linear", ops.linear, normal(2, 3), normal(3, 2), normal(1, 2)),
    Sample("linear", ops.linear, normal(2, 2, 3), normal(3, 2)),
    Sample("linear", ops.linear, normal(3), normal(3, 2), normal(2)),
    *(
        Sample("linear", partial(ops.linear, activation=f), normal(2, 3), normal(3, 2), normal(2))
        for f in ("relu", "sigmoid", "tanh")
    ),
    Sample("dot", ops.dot, normal(3), normal(3)),
    Sample("outer", ops.outer, normal(3), normal(2)),
    Sample("einsum", einsum("ij,jk->ik"), normal(2, 3), normal(3, 2)),
    Sample("einsum", einsum("bij,bkj->bik"), normal(2, 2, 3), normal(2, 1, 3)),
    Sample("einsum", einsum("ii"), normal(3, 3)),
    Sample("einsum", einsum("ij,j,kj->ki"), normal(2, 3), normal(3), normal(2, 3)),
    Sample("einsum", einsum("...ij,j"), normal(2, 2, 3), normal(3)),
    Sample("einsum", einsum("iij,k->j"), normal(2, 2, 3), normal(2)),
    Sample("einsum", einsum("...ij,...jk->...ik"), normal(2, 1, 2, 3), normal(3, 3, 2)),
    Sample("einsum", einsum("...i,...i->..."), normal(1, 3), normal(2, 2, 3)),
    Sample("einsum", einsum("...,...->"), normal(2, 1), normal(3)),
    Sample("einsum", einsum("ij,jk->ik"), normal(2, 1), normal(3, 2)),
    Sample("einsum", einsum("ij,ij->j"), normal(1, 3), normal(2, 1)),
    Sample("einsum", einsum("bij,bjk,bk->i"), normal(1, 2, 3), normal(2, 1, 2), normal(2, 1)),
    Sample("einsum", lambda a, b: ops.einsum(a, [0, 1], b, [1, 2]), normal(2, 3), normal(1, 2)),
    Sample(
        "einsum",
        lambda a, b: ops.einsum(a, [..., 0], b, [..., 0], [0, ...]),
        normal(2, 3),
        normal(2, 1, 3),
    ),
]
