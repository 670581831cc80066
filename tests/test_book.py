"""The book's interface: every class where the book has it, every parameter by the book's name."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import book_signatures as book
import numpy as np
import pytest

import babygrad
from babygrad import Tensor, ops

pytestmark = pytest.mark.filterwarnings("error")

TEXT = book.CHAPTER.read_text(encoding="utf-8") if book.CHAPTER.exists() else ""
CLASSES = sorted(set(book.classes(TEXT)))
DEFINITIONS = book.definitions(TEXT)
beside = pytest.mark.skipif(not TEXT, reason="the book is not beside this checkout")

# What the book defines and babygrad has not, with the reason.
LEFT_OUT = {
    "tensor._ensure_tensor": "private; operands are lifted by each operation",
    "ops.Flip.compute": "an erratum: it is forward",
    "ops.Flip.gradient": "an erratum: it is backward",
    "data.DataLoader.__next__": "an erratum: each iter() is an epoch of its own",
}
# Methods of Tensor that the chapter calls and other chapters define: their one parameter.
METHODS = {"broadcast_to": "shape", "reshape": "shape", "sum": "axes", "transpose": "axes"}


FUNCTIONS = """
    Add AddScalar BroadcastTo Conv Dilate Div DivScalar Exp Flip Function Log LogSumExp MatMul Mul
    MulScalar Negate Pow PowerScalar ReLU Reshape Sigmoid Sqrt Summation Tanh Transpose Undilate
"""


def found(path: str) -> Any:
    module, *rest = path.split(".")
    value = importlib.import_module(f"babygrad.{module}")
    for name in rest:
        value = getattr(value, name)
    return value


def positions(signature: inspect.Signature, count: int) -> list[str]:
    """The names of the parameters that the first arguments by position go to."""
    return list(signature.bind(*range(count)).arguments)[:count]


def check(definition: book.Definition, function: Any, receiver: int) -> None:
    """Call by position, by keyword, and with no more than the book asks for."""
    signature = inspect.signature(function)
    names = [p.name for p in definition.positional]
    assert positions(signature, receiver + len(names))[receiver:] == names
    both = [*definition.positional, *definition.named]
    by_keyword = {p.name: None for p in both}
    assert by_keyword.keys() <= signature.bind(*range(receiver), **by_keyword).arguments.keys()
    signature.bind(*range(receiver), **{p.name: None for p in both if not p.optional})
    kinds = {p.kind for p in signature.parameters.values()}
    for star in definition.stars:
        if star.startswith("**"):
            assert inspect.Parameter.VAR_KEYWORD in kinds
        elif star != "*":
            assert inspect.Parameter.VAR_POSITIONAL in kinds


@beside
def test_the_whole_chapter_was_read() -> None:
    # Counted by hand: 126 functions, one of them inside of a method; 39 classes; 67 in ops.
    assert len(DEFINITIONS) == 125
    assert len(book.classes(TEXT)) == 39
    assert sum(d.path.startswith("ops.") for d in DEFINITIONS) == 67
    by_path = {d.path: d for d in DEFINITIONS}
    dense = by_path["nn.Linear.__init__"]
    assert [p.name for p in dense.positional] == [
        "in_features", "out_features", "bias", "device", "dtype",
    ]  # fmt: skip
    assert by_path["tensor.Tensor.rand"].stars == ("*shape",)
    assert [p.name for p in by_path["tensor.Tensor.__init__"].named] == [
        "device", "dtype", "requires_grad",
    ]  # fmt: skip


@beside
def test_what_is_left_out_is_in_the_book() -> None:
    assert LEFT_OUT.keys() <= {d.path for d in DEFINITIONS}


@beside
@pytest.mark.parametrize("path", CLASSES)
def test_class_is_where_the_book_has_it(path: str) -> None:
    assert inspect.isclass(found(path))


@beside
@pytest.mark.parametrize(
    "definition", [d for d in DEFINITIONS if d.path not in LEFT_OUT], ids=lambda d: d.path
)
def test_signature_takes_the_books_names(definition: book.Definition) -> None:
    owner, _, name = definition.path.rpartition(".")
    if "." not in owner:
        check(definition, found(definition.path), 0)
    elif isinstance(inspect.getattr_static(found(owner), name), property):
        assert not definition.positional
    else:
        function = found(definition.path)
        check(definition, function, 0 if inspect.ismethod(function) else 1)


@pytest.mark.parametrize("name", METHODS)
def test_method_takes_the_books_name(name: str) -> None:
    parameter = book.Parameter(METHODS[name], optional=name in ("sum", "transpose"))
    check(book.Definition(name, (parameter,), (), ()), getattr(Tensor, name), 1)


def test_methods_called_by_the_books_names(device: str) -> None:
    x = Tensor([[1.0, 2.0, 3.0]])
    assert x.transpose(axes=(1, 0)).shape == x.transpose((1, 0)).shape == (3, 1)
    assert x.transpose(axes=None).shape == x.transpose(None).shape == x.transpose(0, 1).shape
    assert x.reshape(shape=(3, -1)).shape == x.reshape(3, -1).shape == (3, 1)
    assert x.broadcast_to(shape=(2, 3)).shape == x.broadcast_to(2, 3).shape == (2, 3)
    assert x.expand(shape=(2, -1)).shape == x.expand(2, -1).shape == (2, 3)
    assert x.permute(axes=(1, 0)).shape == x.permute(1, 0).shape == (3, 1)
    assert x.tile(reps=(2, 1)).shape == x.tile(2, 1).shape == (2, 3)
    assert x.sum(axes=(0, 1)).item() == x.sum(axes=None).item() == 6.0
    assert ops.relu(a=x).tolist() == x.tolist()
    assert Tensor(5.0).reshape().shape == Tensor(5.0).permute().shape == ()


def test_functions_are_where_the_book_has_them() -> None:
    """Also without the text of the book."""
    for name in FUNCTIONS.split():
        assert issubclass(getattr(ops, name), babygrad.Function)
    x = Tensor([1.0, 2.0], requires_grad=True)
    assert type((x**x)._op) is ops.Pow
    assert type((x / x)._op) is ops.Div
    assert type(x.exp()._op) is ops.Exp
    assert type(x.sum()._op) is ops.Summation
    assert type(x.transpose()._op) is ops.Transpose


X = np.arange(24.0).reshape(2, 3, 4) / 10

# A Function with the book's settings, and what numpy says of it.
CALLS = {
    "Summation, negative axis": (lambda: ops.Summation(axes=(-1, 0)), lambda x: x.sum((0, 2))),
    "Summation, one axis": (lambda: ops.Summation(axes=-2), lambda x: x.sum(1)),
    "Summation, all": (lambda: ops.Summation(), np.sum),
    "LogSumExp, axes": (
        lambda: ops.LogSumExp(axes=(0, -1)), lambda x: np.log(np.exp(x).sum((0, 2))),
    ),
    "LogSumExp, one axis": (lambda: ops.LogSumExp(1), lambda x: np.log(np.exp(x).sum(1))),
    "LogSumExp, all": (lambda: ops.LogSumExp(axes=None), lambda x: np.log(np.exp(x).sum())),
    "Transpose": (lambda: ops.Transpose(), lambda x: x.swapaxes(-1, -2)),
    "Transpose, two axes": (lambda: ops.Transpose(axes=(0, -1)), lambda x: x.swapaxes(0, 2)),
    "Transpose, all axes": (lambda: ops.Transpose((2, 0, -2)), lambda x: x.transpose(2, 0, 1)),
    "Flip": (lambda: ops.Flip(axes=(0, -1)), lambda x: x[::-1, :, ::-1]),
    "Flip, all": (lambda: ops.Flip(), lambda x: x[::-1, ::-1, ::-1]),
    "Reshape": (lambda: ops.Reshape(shape=(4, -1)), lambda x: x.reshape(4, 6)),
    "BroadcastTo": (
        lambda: ops.BroadcastTo(shape=(2, 2, 3, 4)), lambda x: np.broadcast_to(x, (2, 2, 3, 4)),
    ),
    "PowerScalar": (lambda: ops.PowerScalar(scalar=3), lambda x: x**3),
    "DivScalar": (lambda: ops.DivScalar(scalar=4.0), lambda x: x / 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_functions_take_the_books_settings(name: str, device: str, dtype: str) -> None:
    make, oracle = CALLS[name]
    x = Tensor(X, dtype=dtype, requires_grad=True)
    y = make()(x)
    want = oracle(X)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(y.data, want, rtol=rtol)
    # The gradient by the upstream g is the slope of the sum of y g along every direction.
    rng = np.random.default_rng(0)
    g, direction = rng.normal(size=want.shape), rng.normal(size=X.shape)
    y.backward(Tensor(g, dtype=dtype))
    slope = np.sum((oracle(X + 1e-5 * direction) - oracle(X - 1e-5 * direction)) * g) / 2e-5
    np.testing.assert_allclose(np.sum(x.grad * direction), slope, rtol=1e-4, atol=1e-5)


def test_dilate_and_undilate_are_each_others_gradient(device: str, dtype: str) -> None:
    x = Tensor(np.arange(8.0).reshape(2, 4), dtype=dtype, requires_grad=True)
    y = ops.Dilate(axes=(-1,), dilation=2)(x)
    np.testing.assert_array_equal(y.data[:, ::3], x.data)
    assert y.shape == (2, 10) and np.count_nonzero(y.data) == 7
    g = np.arange(20.0).reshape(2, 10)
    y.backward(Tensor(g, dtype=dtype))
    np.testing.assert_array_equal(x.grad, g[:, ::3])
    z = Tensor(g[:, :9], dtype=dtype, requires_grad=True)
    ops.Undilate(1, 2)(z).sum().backward()
    np.testing.assert_array_equal(z.grad, np.tile([1, 0, 0], (2, 3)))


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), ((1, 2), (0, 1))])
def test_the_books_conv_is_a_function_of_its_own(
    stride: Any, padding: Any, device: str, dtype: str
) -> None:
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(2, 5, 6, 3)), rng.normal(size=(3, 3, 3, 2))
    (sh, sw), (ph, pw) = ((n, n) if isinstance(n, int) else n for n in (stride, padding))
    padded = np.pad(image, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::sh, ::sw]
    want = np.einsum("nhwckl,klco->nhwo", windows, kernel)
    a, b = (Tensor(v, dtype=dtype, requires_grad=True) for v in (image, kernel))
    y = ops.Conv(stride=stride, padding=padding)(a, b)
    np.testing.assert_allclose(y.data, want, rtol=1e-4, atol=1e-5)
    y.sum().backward()
    np.testing.assert_allclose(
        b.grad[..., 0], windows.sum((0, 1, 2)).transpose(1, 2, 0), rtol=1e-4, atol=1e-4
    )
    with pytest.raises(ValueError, match="conv: x of shape"):
        ops.Conv()(a, b[:, :, :2])
