"""What users call: methods with names of their own, the callable module, numbers in f-strings."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, nn

PUBLIC = sorted(name for name in dir(Tensor) if not name.startswith("_"))
CALLABLE = [name for name in PUBLIC if callable(inspect.getattr_static(Tensor, name))]
FUNCTIONS = sorted(
    {*CALLABLE, *(n for n in PUBLIC if isinstance(inspect.getattr_static(Tensor, n), classmethod))}
)


def test_there_are_methods_to_check() -> None:
    assert {"sum", "reshape", "exp", "rand", "item", "backward", "amax"} <= set(FUNCTIONS)
    assert len(FUNCTIONS) > 90


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_method_has_its_own_name_signature_and_documentation(name: str) -> None:
    method = getattr(Tensor, name)
    assert (method.__name__, method.__qualname__) == (name, f"Tensor.{name}")
    assert (method.__doc__ or "").strip()
    parameters = inspect.signature(method).parameters
    assert parameters or inspect.ismethod(method)
    kinds = {p.kind for p in parameters.values()}
    first = next(iter(parameters.values()), None)
    if not inspect.ismethod(method):
        assert first.kind is not inspect.Parameter.VAR_POSITIONAL, kinds


def test_two_methods_are_not_one_object() -> None:
    functions = [inspect.unwrap(getattr(Tensor, name)) for name in FUNCTIONS]
    assert len({id(getattr(f, "__func__", f)) for f in functions}) == len(functions)


@pytest.mark.parametrize("name", [n for n in PUBLIC if n not in FUNCTIONS])
def test_every_property_is_documented(name: str) -> None:
    assert (getattr(Tensor, name).__doc__ or "").strip()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x.exp(1), "Tensor.exp() takes 1 positional argument but 2 were given"),
        (lambda x: x.unsqueeze(dim=1), "Tensor.unsqueeze() got an unexpected keyword argument"),
        (lambda x: x.item(1), "Tensor.item() takes 1 positional argument but 2 were given"),
        (lambda x: Tensor.rand(2, lo=1), "Tensor.rand() got an unexpected keyword argument 'lo'"),
        (lambda x: x.pow("a"), "pow: an operand is a str, not a tensor or number"),
    ],
)
def test_messages_name_what_was_called(call, message: str, device: str) -> None:
    with pytest.raises(TypeError) as caught:
        call(Tensor([1.0]))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x.clamp(), "clamp: give at least one of low and high"),
        (lambda x: x.clip(), "clip: give at least one of low and high"),
        (lambda x: x.clamp(Tensor([1.0, 2.0])), "clamp: shapes (3,) and (2,) do not broadcast"),
        (lambda x: x.astype("int32").pow(-1), "pow: a tensor of int32 cannot be raised to a neg"),
        (lambda x: x.astype("int32") ** -1, "power: a tensor of int32 cannot be raised to a neg"),
    ],
)
def test_aliases_name_themselves(call, message: str, device: str) -> None:
    with pytest.raises(ValueError) as caught:
        call(Tensor([1.0, 2.0, 3.0]))
    assert str(caught.value).startswith(message)


# ----- babygrad.tensor -----


def test_the_module_tensor_is_callable(device: str) -> None:
    x = babygrad.tensor([[1, 2]], requires_grad=True)
    assert (x.shape, x.dtype, x.requires_grad, x.device) == ((1, 2), np.float32, True, device)
    assert babygrad.tensor(np.array([1]), dtype=None).dtype == np.int64
    assert babygrad.tensor(data=[1.0], device="cpu:numpy").device == "cpu:numpy"
    assert isinstance(babygrad.tensor, types.ModuleType)
    assert babygrad.tensor.Tensor is Tensor
    names = ["data", "device", "dtype", "requires_grad"]
    assert list(inspect.signature(babygrad.tensor).parameters) == names


def test_the_books_imports_of_the_module_work() -> None:
    code = (
        "from babygrad.tensor import NDArray, Tensor; import babygrad.tensor as t; "
        "assert t.Tensor is Tensor; assert t([1.0]).tolist() == t.tensor([1.0]).tolist() == [1.0]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ----- Modules without arguments -----


class Plain(nn.Module):
    pass


@pytest.mark.parametrize(
    "layer",
    [nn.ReLU, nn.SiLU, nn.Softplus, nn.Sigmoid, nn.Tanh, nn.Flatten, nn.SoftmaxLoss, Plain],
)
def test_a_module_without_arguments_names_itself(layer: type[nn.Module]) -> None:
    name = layer.__name__
    with pytest.raises(TypeError, match=rf"^{name}: takes no arguments, but got True, dim=1$"):
        layer(True, dim=1)
    assert layer().training


# ----- to(type) -----


@pytest.mark.parametrize("kind", ["float64", np.float32, np.dtype("int64"), float, "int32", bool])
def test_a_type_is_no_device_and_astype_is_pointed_to(kind, device: str) -> None:
    for call in (
        lambda: Tensor([1.0]).to(kind),
        lambda: nn.Linear(2, 2).to(kind),
        lambda: Tensor([1.0], device=kind),
    ):
        with pytest.raises(ValueError, match=r"is a type, to which astype casts; devices are cpu,"):
            call()


@pytest.mark.parametrize("name", ["cuda", "cpu:gpu", "", None, 3])
def test_what_is_neither_a_type_nor_a_device_is_unknown(name, device: str) -> None:
    with pytest.raises(ValueError, match="unknown device"):
        Tensor([1.0]).to(name)


@pytest.mark.parametrize("like", [[1.0], [[1.0] * 100] * 100, 2.0])
def test_a_tensor_is_neither_a_device_nor_a_type(like, device: str) -> None:
    for call in (lambda x: x.to(x), lambda x: Tensor([1.0], device=x)):
        with pytest.raises(
            ValueError, match=r"^unknown device of type Tensor: there are cpu, [^\n]*$"
        ):
            call(Tensor(like))


# ----- f"{loss:.4f}" -----


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_element_is_formatted_as_a_number(shape, device: str, dtype: str) -> None:
    x = Tensor(np.full(shape, 3.140625), dtype=dtype, requires_grad=True)
    assert f"{x:.4f}" == "3.1406"
    assert f"{x:>8.2f}|{x:e}" == "    3.14|3.140625e+00"
    assert f"{x * 2:.1f}" == "6.3"
    assert f"{Tensor(7, dtype='int64'):03d} {Tensor(True, dtype='bool'):d}" == "007 1"
    assert f"{x}" == format(x) == str(x)


def test_several_elements_have_no_number_format(device: str) -> None:
    x = Tensor([1.0, 2.0])
    assert f"{x}" == str(x) == "[1. 2.]"
    with pytest.raises(TypeError) as caught:
        format(x, ".4f")
    assert str(caught.value) == (
        "format: '.4f' formats one number; a tensor of shape (2,) has 2 elements"
    )
    with pytest.raises(ValueError, match="Unknown format code 'd'"):
        format(x[0], "d")
