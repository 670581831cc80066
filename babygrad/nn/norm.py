"""Normalization layers: batch, layer, group and RMS normalization."""

from __future__ import annotations

from typing import Any, ClassVar

from babygrad import ops
from babygrad.nn.module import Module, Parameter
from babygrad.ops._settings import check_eps, check_probability, check_switches, count_of
from babygrad.ops.normalization import divides, normalized_sizes
from babygrad.tensor import Tensor


def _affine(
    shape: Any, weight: bool, bias: bool, device: str | None, dtype: Any
) -> tuple[Parameter | None, Parameter | None]:
    """A weight of ones and a bias of zeros, or None in the place of either."""
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    return (
        Parameter(Tensor.ones(*sizes, device=device, dtype=dtype)) if weight else None,
        Parameter(Tensor.zeros(*sizes, device=device, dtype=dtype)) if bias else None,
    )


class BatchNorm(Module):
    """Brings each channel to mean 0 and variance 1 over the batch (Ioffe and Szegedy, 2015).

    In training the statistics are those of the batch, and moving averages of them are kept; in
    evaluation the moving averages take their place and stay as they are.

    Parameters
    ----------
    dim : int
        The number of channels.
    eps : float
    momentum : float or None
        The weight of the newest batch in the moving averages, in [0, 1]. None weighs all batches
        alike: the averages are then those of all that were seen in training, as in PyTorch.
    affine : bool
        Whether there are a weight and a bias.
    unbiased : bool
        Whether running_var averages the unbiased variance `sum / (n - 1)`, as PyTorch does. By
        default it is the biased one, `sum / n`, with which training itself normalizes: the book's.

    Attributes
    ----------
    weight, bias : Parameter (dim,)
    running_mean, running_var : Tensor (dim,)
        Buffers: saved, and not learned.
    num_batches_tracked : Tensor () of int64, or None
        With `momentum=None` a buffer too: how many batches the averages are of.

    Raises
    ------
    ValueError
        When `momentum` is out of its range; in training, when a channel has a single value.

    Examples
    --------
    >>> from babygrad import Tensor, nn
    >>> layer = nn.BatchNorm1d(1, momentum=None)
    >>> for batch in ([[1.0], [3.0]], [[5.0], [7.0]]):
    ...     y = layer(Tensor(batch))
    >>> layer.running_mean.tolist(), layer.num_batches_tracked.item()
    ([4.0], 2)
    """

    ranks: ClassVar[tuple[int, ...]]
    # PyTorch counts the batches whatever the momentum is.
    ignored_keys: tuple[str, ...] = ("num_batches_tracked",)

    def __init__(
        self,
        dim: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        device: str | None = None,
        dtype: Any = "float32",
        affine: bool = True,
        unbiased: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.dim = count_of(name, "dim", dim, 0)
        check_eps(name, eps)
        if momentum is not None:
            check_probability(name, "momentum", momentum)
        check_switches(name, affine=affine, unbiased=unbiased)
        self.eps = eps
        self.momentum = momentum
        self.unbiased = unbiased
        self.weight, self.bias = _affine(dim, affine, affine, device, dtype)
        settings: Any = {"device": device, "dtype": dtype, "requires_grad": False}
        self.running_mean = Tensor.zeros(dim, **settings)
        self.running_var = Tensor.ones(dim, **settings)
        self.num_batches_tracked: Tensor | None = None
        if momentum is None:
            self._start_counting()

    def _start_counting(self) -> Tensor:
        count = Tensor(0, dtype="int64", device=self.running_mean.device)
        self.register_buffer("num_batches_tracked", count)
        self.ignored_keys = ()
        return count

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in self.ranks or x.shape[1] != self.dim:
            axes = " or ".join(str(rank) for rank in self.ranks)
            raise ValueError(
                f"{type(self).__name__}: x has shape {x.shape}; it must have {axes} axes "
                f"and {self.dim} channels on axis 1"
            )
        if self.momentum is not None or not self.training:
            return self._normalized(x, self.momentum or 0.0)
        count = self.num_batches_tracked
        if count is None:  # the momentum was taken away later
            count = self._start_counting()
        y = self._normalized(x, 1 / (int(count.item()) + 1))
        count += 1
        return y

    def _normalized(self, x: Tensor, momentum: float) -> Tensor:
        return ops.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training,
            momentum=momentum,
            eps=self.eps,
            unbiased=self.unbiased,
        )


class BatchNorm1d(BatchNorm):
    """Batch normalization of (N, C) or (N, C, L); the parameters are those of `BatchNorm`."""

    ranks = (2, 3)


class BatchNorm2d(BatchNorm):
    """Batch normalization of images (N, C, H, W); the parameters are those of `BatchNorm`."""

    ranks = (4,)


class LayerNorm(Module):
    """Brings each sample's last axes to mean 0 and variance 1 (Ba et al., 2016).

    Parameters
    ----------
    normalized_shape : int or tuple of int
        The sizes of those axes, which are also the shape of weight and bias.
    bias : bool
        Whether there is a bias beside the weight.
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        device: str | None = None,
        dtype: Any = "float32",
        bias: bool = True,
    ) -> None:
        super().__init__()
        normalized_sizes(type(self).__name__, normalized_shape)
        check_eps(type(self).__name__, eps)
        check_switches(type(self).__name__, bias=bias)
        self.normalized_shape = normalized_shape
        self.eps = eps
        self.weight, self.bias = _affine(normalized_shape, True, bias, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class LayerNorm1d(LayerNorm):
    """The book's layer normalization, over the last axis, of size `dim`."""

    def __init__(
        self, dim: int, eps: float = 1e-5, device: str | None = None, dtype: Any = "float32"
    ) -> None:
        super().__init__(dim, eps, device, dtype)
        self.dim = dim


class RMSNorm(Module):
    """`x / sqrt(mean(x^2) + eps) * weight` over the last axes (Zhang and Sennrich, 2019)."""

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-6,
        device: str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        normalized_sizes(type(self).__name__, normalized_shape)
        check_eps(type(self).__name__, eps)
        self.normalized_shape = normalized_shape
        self.eps = eps
        self.weight, _ = _affine(normalized_shape, True, False, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.normalized_shape, self.weight, self.eps)


class GroupNorm(Module):
    """Brings each sample's groups of channels to mean 0 and variance 1 (Wu and He, 2018).

    Parameters
    ----------
    num_groups : int
        A divisor of num_channels.
    num_channels : int
        The size of axis 1.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        device: str | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_groups = num_groups
        self.num_channels = count_of(name, "num_channels", num_channels, 0)
        if not divides(name, num_groups, num_channels):
            raise ValueError(
                f"{name}: num_groups (={num_groups}) must divide num_channels (={num_channels})"
            )
        check_eps(name, eps)
        self.eps = eps
        self.weight, self.bias = _affine(num_channels, True, True, device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
