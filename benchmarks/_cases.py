"""The cells of the grid: operation, shapes, arithmetic, and the check of a result."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks import operations_numpy

Shape = tuple[int, ...]

# A float64 definition of gelu is slow: elementwise results are checked up to here.
CHECKED_ELEMENTS = 1 << 16
EPS = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Case:
    """One cell.

    Attributes
    ----------
    operation : str
        Its name in the modules `operations_*`.
    shapes : dict of str to tuple
        The operation's inputs, float32. `g` is the upstream gradient; `w` a weight.
    wrt : tuple of str
        The inputs whose gradients are timed, without the forward pass; none for the forward pass.
    flops : int
        Of matrix products and convolutions; 0 for work that memory limits.
    terms : int
        How many numbers are added up for one of the result.
    """

    group: str
    name: str
    operation: str
    shapes: dict[str, Shape]
    options: dict[str, Any] = field(default_factory=dict)
    wrt: tuple[str, ...] = ()
    flops: int = 0
    terms: int = 1

    @property
    def bytes(self) -> int:
        """What has to be read and written at least; 0 where arithmetic is the limit."""
        if self.flops:
            return 0
        sizes = {name: 4 * math.prod(shape) for name, shape in self.shapes.items()}
        if self.group == "optimizers":  # g is read; p and the moments are read and written
            return sizes["g"] * {"sgd": 5, "adam": 7}[self.operation]
        read = sum(sizes.values())
        if self.wrt:
            return read + sum(sizes[name] for name in self.wrt)
        return read + (0 if self.operation.startswith("reduce") else sizes["x"])

    @property
    def has_images(self) -> bool:
        return any(len(shape) == 4 for shape in self.shapes.values())

    def arrays(self) -> dict[str, np.ndarray]:
        """The inputs, the same in every process."""
        rng = np.random.default_rng(0)
        return {n: rng.standard_normal(s, dtype=np.float32) for n, s in self.shapes.items()}

    def check(self, label: str, results: list[np.ndarray]) -> None:
        """Raise unless the results are those of numpy's float64, but for the rounding."""
        for i, (got, want) in enumerate(zip(results, self.expected(), strict=True)):
            got = got[: len(want)] if self.group == "elementwise" else got
            if got.shape != want.shape:
                raise AssertionError(f"{label}, {self.name}: shape {got.shape}, not {want.shape}")
            bound = 16 * EPS * math.sqrt(self.terms) * np.abs(want).max()
            error = np.abs(got - want).max()
            if not error <= bound:
                raise AssertionError(
                    f"{label}, {self.name}: result {i} is off by {error:.2g}, allowed {bound:.2g}"
                )

    def expected(self) -> list[np.ndarray]:
        inputs = {name: array.astype(np.float64) for name, array in self.arrays().items()}
        if self.group == "elementwise":
            inputs = {name: array[:CHECKED_ELEMENTS] for name, array in inputs.items()}
        if hasattr(operations_numpy, f"make_{self.operation}"):
            return [getattr(operations_numpy, f"make_{self.operation}")(*inputs.values())()]
        if not self.wrt:
            return [getattr(operations_numpy, self.operation)(*inputs.values(), **self.options)]
        g = inputs.pop("g")
        gradient = getattr(operations_numpy, f"{self.operation}_grad")
        gradients = dict(zip(inputs, gradient(g, *inputs.values(), **self.options), strict=False))
        return [gradients[name] for name in self.wrt]


def cases(quick: bool = False) -> Iterator[Case]:
    """All cells of the grid; tiny ones when quick."""
    yield from _matmuls(quick)
    yield from _convolutions(quick)
    yield from _elementwise(quick)
    yield from _rows(quick)
    yield from _images(quick)
    yield from _reductions(quick)
    for operation in ("sgd", "adam"):
        for n in (1000,) if quick else (1 << 18, 1 << 23):
            shapes = {"p": (n,), "g": (n,)}
            yield Case("optimizers", f"{operation}, {_count(n)}", operation, shapes)


def _matmuls(quick: bool) -> Iterator[Case]:
    sizes = [
        (n, n, n) for n in (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
    ]
    sizes += [(64, 784, 128), (256, 784, 512), (32768, 64, 64), (8192, 288, 32)]  # layers; tall
    sizes += [(64, 64, 8192), (32, 512, 32000), (64, 65536, 64), (1, 1024, 1024), (4096, 4096, 1)]
    if quick:
        sizes = [(16, 16, 16), (5, 70, 9)]
    for m, k, n in sizes:
        yield _matmul("matmul", f"{m}x{k}x{n}", (m, k), (k, n))
    for m, k, n in (
        [(12, 10, 8)] if quick else [(128, 128, 128), (128, 64, 784), (1024, 1024, 1024)]
    ):
        yield _matmul("matmul_at", f"{m}x{k}x{n}, a transposed", (k, m), (k, n))
        yield _matmul("matmul_bt", f"{m}x{k}x{n}, b transposed", (m, k), (n, k))
    for batch, m, k, n in [(3, 8, 9, 7)] if quick else [(64, 64, 32, 64), (512, 16, 16, 16)]:
        yield _matmul("matmul", f"{batch} times {m}x{k}x{n}", (batch, m, k), (batch, k, n))
    b, m, k, n = (2, 5, 6, 7) if quick else (32, 128, 128, 128)
    yield _matmul("matmul", f"{b} times {m}x{k}x{n}, one b", (b, m, k), (k, n))


def _matmul(operation: str, name: str, a: Shape, b: Shape) -> Case:
    n = b[-2] if operation == "matmul_bt" else b[-1]
    k = a[-2] if operation == "matmul_at" else a[-1]
    flops = 2 * math.prod(a) * n
    return Case("matmul", name, operation, {"a": a, "b": b}, flops=flops, terms=k)


def _convolutions(quick: bool) -> Iterator[Case]:
    """name, N, channels in and out, size, kernel, options; padded to the same size."""
    table: list[tuple[str, int, int, int, int, int, dict[str, int]]] = [
        ("3x3, 32 to 32", 32, 32, 32, 32, 3, {}),
        ("3x3, 64 to 64", 32, 64, 64, 16, 3, {}),
        ("3x3, 16 to 32", 64, 16, 32, 14, 3, {}),
        ("3x3, 64 to 64, large", 8, 64, 64, 56, 3, {}),
        ("1x1, 64 to 256", 8, 64, 256, 28, 1, {}),
        ("1x1, 256 to 64", 8, 256, 64, 28, 1, {}),
        ("5x5, 32 to 32", 16, 32, 32, 28, 5, {}),
        ("7x7, 16 to 16", 8, 16, 16, 56, 7, {}),
        ("3x3, stride 2, 32 to 64", 32, 32, 64, 32, 3, {"stride": 2}),
        ("1x1, stride 2, 64 to 128", 16, 64, 128, 28, 1, {"stride": 2}),
        ("3x3, dilation 2, 64 to 64", 8, 64, 64, 28, 3, {"dilation": 2}),
        ("3x3, depthwise, 128", 16, 128, 128, 28, 3, {"groups": 128}),
        ("3x3, 4 groups, 64 to 64", 16, 64, 64, 28, 3, {"groups": 4}),
        ("3x3, first layer, 1 to 16", 64, 1, 16, 28, 3, {}),
        ("3x3, first layer, 3 to 32", 32, 3, 32, 32, 3, {}),
        ("7x7, stride 2, first layer, 3 to 64", 4, 3, 64, 112, 7, {"stride": 2}),
    ]
    for name, n, c, o, size, kernel, options in table:
        n, size = (1, 9) if quick else (n, size)
        options = {"padding": (kernel - 1) // 2 * options.get("dilation", 1), **options}
        out = (size - 1) // options.get("stride", 1) + 1
        weight = (o, c // options.get("groups", 1), kernel, kernel)
        shapes = {"x": (n, c, size, size), "w": weight, "g": (n, o, out, out)}
        yield from _directions(name, "conv2d", shapes, options)
    n, length = (1, 20) if quick else (16, 512)
    shapes = {"x": (n, 64, length), "w": (64, 64, 5), "g": (n, 64, length)}
    yield from _directions("1-D, 5, 64 to 64", "conv1d", shapes, {"padding": 2})


def _directions(
    name: str, operation: str, shapes: dict[str, Shape], options: dict[str, int]
) -> Iterator[Case]:
    forward = {key: shape for key, shape in shapes.items() if key != "g"}
    pixels, window = math.prod(shapes["g"]), math.prod(shapes["w"][1:])
    flops = 2 * pixels * window
    for direction, inputs, wrt, terms in (
        ("forward", forward, (), window),
        ("input gradient", shapes, ("x",), math.prod(shapes["w"]) // shapes["w"][1]),
        ("weight gradient", shapes, ("w",), pixels // shapes["w"][0]),
    ):
        full = f"{name}, {direction}"
        yield Case("convolution", full, operation, inputs, options, wrt, flops, terms)


def _elementwise(quick: bool) -> Iterator[Case]:
    for n in (1003,) if quick else (1 << 16, 1 << 24):
        for operation in ("add", "multiply", "exp", "tanh", "gelu", "relu"):
            names = ("x", "y") if operation in ("add", "multiply") else ("x",)
            shapes = dict.fromkeys(names, (n,))
            yield Case("elementwise", f"{operation}, {_count(n)}", operation, shapes, terms=4)


def _rows(quick: bool) -> Iterator[Case]:
    for rows, columns in [(7, 33)] if quick else [(256, 256), (1024, 1000), (16384, 1024)]:
        for operation in ("softmax", "log_softmax"):
            for axis in (1, 0):
                name = f"{operation}, {rows}x{columns}, axis {axis}"
                shapes = {"x": (rows, columns)}
                yield from _both(name, operation, shapes, {"axis": axis}, ("x",), columns)
        shapes = {"x": (rows, columns), "w": (columns,), "b": (columns,)}
        name = f"layer_norm, {rows}x{columns}"
        yield from _both(name, "layer_norm", shapes, {}, ("x", "w", "b"), rows)


def _images(quick: bool) -> Iterator[Case]:
    for shape in [(2, 5, 4, 4)] if quick else [(32, 32, 32, 32), (64, 64, 64, 64)]:
        shapes = {"x": shape, "w": shape[1:2], "b": shape[1:2]}
        name = f"batch_norm, {'x'.join(map(str, shape))}"
        terms = math.prod(shape) // shape[1]
        yield from _both(name, "batch_norm", shapes, {}, ("x", "w", "b"), terms)


def _both(
    name: str,
    operation: str,
    shapes: dict[str, Shape],
    options: dict[str, Any],
    wrt: tuple[str, ...],
    terms: int,
) -> Iterator[Case]:
    yield Case("softmax and norms", name, operation, shapes, options, terms=terms)
    shapes = {**shapes, "g": shapes["x"]}
    yield Case("softmax and norms", f"{name}, gradient", operation, shapes, options, wrt, 0, terms)


def _reductions(quick: bool) -> Iterator[Case]:
    shapes: list[Shape] = [(6, 7), (2, 3, 4, 5)]
    if not quick:
        shapes = [(256, 256), (4096, 4096), (64, 64, 64, 64)]
    for shape in shapes:
        axes: tuple[Any, ...] = (0, 1, None) if len(shape) == 2 else ((0, 2, 3), (1,), None)
        for operation in ("reduce_sum", "reduce_max", "reduce_var"):
            for axis in axes:
                name = f"{operation[7:]}, {'x'.join(map(str, shape))}, axis {axis}"
                options, terms = {"axis": axis}, math.prod(shape)
                yield Case("reductions", name, operation, {"x": shape}, options, terms=terms)


def _count(n: int) -> str:
    return f"{n >> 20} Mi" if n >= 1 << 20 else f"{n >> 10} Ki" if n >= 1 << 10 else str(n)
