"""Module: what it finds, its state, its errors, its text."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from babygrad import Tensor, nn


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(np.ones((2, 2)))


class Everything(nn.Module):
    """Parameters and modules in every place where they are looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.direct = nn.Parameter(np.zeros(3))
        self.layer = Block()
        self.layers = [Block(), (Block(), {"deep": [Block()]})]
        self.named = {"a": Block(), "b": nn.Parameter(np.zeros(1))}
        self.shared = self.layer.weight
        self.buffer = Tensor(np.arange(3.0))
        self.number = 5


class Forgetful(nn.Module):
    def __init__(self) -> None:  # no super().__init__()
        self.layer = Block()

    def forward(self, x: Any) -> Any:
        return x @ self.layer.weight


NAMES = [
    "direct",
    "layer.weight",
    "layers.0.weight",
    "layers.1.0.weight",
    "layers.1.1.deep.0.weight",
    "named.a.weight",
    "named.b",
]


def test_parameters_are_found_everywhere_and_each_once() -> None:
    model = Everything()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert isinstance(model.parameters(), list)
    assert len({id(p) for p in model.parameters()}) == len(NAMES)
    assert [name for name, _ in model.named_buffers()] == ["buffer"]
    assert list(model.state_dict()) == [*NAMES, "shared", "buffer"]
    assert [name for name, _ in model.named_modules()] == [
        "", "layer", "layers.0", "layers.1.0", "layers.1.1.deep.0", "named.a",
    ]  # fmt: skip


def test_a_module_that_forgot_super_works() -> None:
    model = Forgetful()
    assert len(model.parameters()) == 1
    assert model.training
    assert model(Tensor(np.ones((1, 2)))).tolist() == [[2.0, 2.0]]
    model.eval()
    assert not model.training
    assert not model.layer.training


def test_train_eval_apply_and_requires_grad() -> None:
    model = Everything()
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    model.train()
    assert all(m.training for m in model.modules())
    seen: list[Any] = []
    model.apply(seen.append)
    assert seen[-1] is model
    assert len(seen) == 6
    model.requires_grad_(False)
    assert not any(p.requires_grad for p in model.parameters())


def test_parameter_keeps_a_tensors_dtype_and_casts_the_rest() -> None:
    assert nn.Parameter(np.zeros(2)).dtype == np.float32
    assert nn.Parameter(Tensor([1.0], dtype="float64")).dtype == np.float64
    assert nn.Parameter([1, 2]).requires_grad
    with pytest.raises(TypeError, match="requires_grad"):
        nn.Parameter([1], dtype="int64")


def test_register_buffer() -> None:
    model = Block()
    model.register_buffer("steps", Tensor([3], dtype="int64"))
    model.register_buffer("nothing", None)
    assert list(model.state_dict()) == ["weight", "steps"]
    with pytest.raises(TypeError, match="register_buffer: extra is a Parameter"):
        model.register_buffer("extra", nn.Parameter([1.0]))


@pytest.mark.usefixtures("numba")
def test_to_moves_everything_and_keeps_the_objects() -> None:
    model = Everything().to("cpu:numpy")
    before = [id(p) for p in model.parameters()]
    model.to("cpu:numba")
    assert {p.device for p in model.parameters()} == {"cpu:numba"}
    assert model.buffer.device == "cpu:numba"
    assert [id(p) for p in model.parameters()] == before


def test_state_dict_copies_and_load_writes_in_place(device: str) -> None:
    model = nn.Linear(3, 2, dtype="float64")
    state = model.state_dict()
    before = {k: v.copy() for k, v in state.items()}
    weight, array = model.weight, model.weight.data
    array[...] += 1.0
    np.testing.assert_array_equal(state["weight"], before["weight"])
    model.load_state_dict({k: v.astype("float32") for k, v in state.items()})
    assert model.weight is weight
    assert model.weight.data is array
    assert array.dtype == np.float64
    np.testing.assert_allclose(array, before["weight"], rtol=1e-6)


def test_load_is_all_or_nothing_and_says_what_was_meant(device: str) -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    before = model.state_dict()
    wrong = {
        "modules.0.weight": np.ones((2, 3)),
        "modules.0.bias": np.ones((1, 2)),
        "modules.1.wieght": np.ones((2, 2)),
    }
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        model.load_state_dict(wrong)
    message = str(caught.value)
    for line in (
        "shape: modules.0.weight is (2, 3) in the state and (3, 2) in the module (transposed",
        "missing: modules.1.weight",
        "missing: modules.1.bias",
        "unexpected: modules.1.wieght (did you mean modules.1.weight?)",
    ):
        assert line in message
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_common_prefix_is_pointed_out() -> None:
    model = nn.Linear(2, 2)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"begin with 'module\.'; remove it"):
        model.load_state_dict(state)


def test_load_that_is_not_strict_reports_what_it_left_out() -> None:
    model = nn.Linear(2, 2)
    report = model.load_state_dict({"bias": np.ones((1, 2)), "extra": [1.0]}, strict=False)
    assert report == (["weight"], ["extra"])
    assert model.bias is not None
    assert model.bias.tolist() == [[1.0, 1.0]]


def test_load_survives_values_that_are_the_modules_own_arrays() -> None:
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.load_state_dict(dict(a.named_parameters()))
    np.testing.assert_array_equal(a.weight.data, b.weight.data)
    assert a.weight.data is not b.weight.data


def test_errors_name_the_layer_by_its_path(device: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(2, 3), nn.Residual(nn.Sequential(nn.Linear(4, 3)))]

        def forward(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x)
            return x

    with pytest.raises(ValueError, match=r"^in layers\.1\.fn\.modules\.0 \(Linear\): linear: "):
        Model()(Tensor(np.ones((1, 2))))
    with pytest.raises(ValueError, match=r"^linear: "):
        nn.Linear(2, 3)(Tensor(np.ones((1, 5))))
    with pytest.raises(NotImplementedError, match="Block must define forward"):
        Block()(1)


def test_repr_shows_the_tree() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Residual(nn.ReLU()), nn.Flatten())
    assert repr(model) == (
        "Sequential(\n"
        "  (modules.0): Conv2d(in_channels=1, out_channels=8, kernel_size=(3, 3), stride=1, "
        "padding=0, dilation=1, groups=1)\n"
        "  (modules.1): Residual(\n"
        "    (fn): ReLU()\n"
        "  )\n"
        "  (modules.2): Flatten()\n"
        ")"
    )


def test_a_module_that_holds_its_parent_is_walked_once() -> None:
    child, parent = Block(), Block()
    child.parent, parent.child = parent, child  # type: ignore[attr-defined]
    assert len(parent.parameters()) == 2
    assert len(parent.state_dict()) == 2
    assert "Block" in repr(parent)


def test_deepcopy_is_independent_and_keeps_ties() -> None:
    model = Everything()
    twin = copy.deepcopy(model)
    twin.direct.data[...] = 9.0
    assert not model.direct.data.any()
    assert twin.shared is twin.layer.weight
    assert [n for n, _ in twin.named_parameters()] == NAMES


def test_zero_grad_forgets(device: str) -> None:
    model = nn.Linear(2, 1)
    model(Tensor(np.ones((1, 2)))).sum().backward()
    assert model.weight.grad is not None
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())
