"""What is state: parameters, and the tensors that a constructor set or that were registered."""

from __future__ import annotations

import abc
import copy
import dataclasses
import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babygrad import Tensor, nn


class Recurrent(nn.Module):
    """Keeps a hidden state and its losses from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter([[0.5]])
        self.mean = Tensor([0.0])
        self.h: Any = None
        self.losses: list[Tensor] = []
        self.last: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        h = x @ self.weight if self.h is None else x @ self.weight + self.h
        self.h = h.detach()
        self.mean = self.mean * 0.5 + h.detach().mean(0) * 0.5
        self.losses.append(h.mean())
        self.losses.append(h.detach())
        self.last["h"] = h.detach()
        self.extra = h.detach()
        return h


STATE = ["weight", "mean"]


def test_what_forward_keeps_is_no_state_and_what_it_replaces_is(
    device: str, tmp_path: Path
) -> None:
    model = Recurrent()
    for n in (3, 5):
        model.h = None
        model(Tensor(np.ones((n, 1))))
        model(Tensor(np.ones((n, 1))))
    # h is 0.5 and 1.0; twice over, from 0: (0 + 0.5) / 2 = 0.25, 0.625, 0.5625, 0.78125
    assert list(model.state_dict()) == STATE
    assert model.state_dict()["mean"].tolist() == [0.78125]
    assert [name for name, _ in model.named_buffers()] == ["mean"]
    model.save(tmp_path / "f")
    other = Recurrent()
    assert other.load(tmp_path / "f") == ([], [])
    assert other.mean.tolist() == [0.78125]
    assert other.h is None
    used = Recurrent()
    used(Tensor(np.ones((2, 1))))
    h = used.h
    used.load(tmp_path / "f")
    assert used.h is h
    assert used.mean.tolist() == [0.78125]


def test_state_that_is_kept_does_not_change_what_is_loaded(device: str) -> None:
    fresh = Recurrent().state_dict()
    model = Recurrent()
    model(Tensor(np.ones((4, 1))))
    model.load_state_dict(fresh)
    assert list(model.state_dict()) == list(fresh)


def test_a_registered_buffer_stays_one(device: str) -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", Tensor([0.0]))
            self.register_buffer("late", None)
            self.scale = nn.Parameter([2.0])

        def forward(self, x: Tensor) -> Tensor:
            self.count = self.count + 1
            self.late = x * self.scale  # with a graph
            return self.late

    model = Counter()
    assert list(model.state_dict()) == ["count", "scale"]
    model(Tensor([3.0]))
    state = model.state_dict()
    assert {name: value.tolist() for name, value in state.items()} == {
        "count": [1.0], "late": [6.0], "scale": [2.0],
    }  # fmt: skip
    model.load_state_dict({"count": [7.0], "late": [8.0], "scale": [9.0]})
    assert [model.count.tolist(), model.late.tolist()] == [[7.0], [8.0]]
    model.late = None
    assert list(model.state_dict()) == ["count", "scale"]


def test_loading_into_a_buffer_that_is_a_view_leaves_what_it_views_alone(device: str) -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.row = Tensor([0.0, 0.0])

        def forward(self, x: Tensor) -> None:
            self.row = x[0]

    model, x = First(), Tensor(np.ones((2, 2)), requires_grad=True)
    model(x)
    model.load_state_dict({"row": [5.0, 5.0]})
    assert model.row.tolist() == [5.0, 5.0]
    assert x.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_what_is_set_from_outside_is_no_state_unless_registered() -> None:
    model = nn.Linear(1, 1)
    model.extra = Tensor([1.0])  # type: ignore[attr-defined]
    model.learned = nn.Parameter([1.0])  # type: ignore[attr-defined]
    assert list(model.state_dict()) == ["weight", "bias", "learned"]
    model.register_buffer("extra", Tensor([1.0]))
    assert list(model.state_dict()) == ["weight", "bias", "extra", "learned"]


def test_a_parameter_is_one_whenever_it_is_set(device: str) -> None:
    class Lazy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight: Any = None

        def forward(self, x: Tensor) -> Tensor:
            if self.weight is None:
                self.weight = nn.Parameter(np.ones((x.shape[1], 1)))
            out: Tensor = x @ self.weight
            return out

    model = Lazy()
    assert not model.state_dict()
    model(Tensor(np.ones((2, 3))))
    assert [name for name, _ in model.named_parameters()] == ["weight"]
    assert list(model.state_dict()) == ["weight"]


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = Tensor([1.0])
        self.later = None


class Derived(Base):
    """Sets its own before and after the base class's, and replaces one of them."""

    def __init__(self) -> None:
        self.early = Tensor([0.0])
        super().__init__()
        self.later = Tensor([2.0])  # type: ignore[assignment]
        self.scales = [Tensor([3.0]), {"a": Tensor([4.0])}]
        self.derived = nn.Parameter([1.0]) * 2  # has a graph: computed, not state


NAMES = ["early", "first", "later", "scales.0", "scales.1.a"]


def test_all_that_the_outermost_constructor_sets_is_state(device: str) -> None:
    model = Derived()
    assert list(model.state_dict()) == NAMES
    model.scales.append(Tensor([5.0]))
    model.scales[0] = Tensor([6.0])
    model.first, model.more = Tensor([7.0]), Tensor([8.0])
    assert list(model.state_dict()) == NAMES
    assert model.state_dict()["scales.0"].tolist() == [6.0]
    assert model.state_dict()["first"].tolist() == [7.0]


def test_modules_in_containers_keep_to_what_their_own_constructors_set(device: str) -> None:
    used = Recurrent()
    used(Tensor(np.ones((2, 1))))
    models = {
        "modules.0.": nn.Sequential(used, nn.ReLU()),
        "fn.": nn.Residual(used),
        "0.": nn.ModuleList([used]),
        "a.": nn.ModuleDict({"a": used}),
        "modules.0.fn.0.": nn.Sequential(nn.Residual(nn.ModuleList([used]))),
    }
    for prefix, model in models.items():
        assert list(model.state_dict()) == [prefix + name for name in STATE]


def test_a_module_that_forgot_super_has_buffers_too() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.mean = Tensor([1.0])
            self.h = None

    model = Forgetful()
    model.h = Tensor([2.0])  # type: ignore[assignment]
    assert list(model.state_dict()) == ["mean"]


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), copy.copy]
)
def test_copies_know_their_buffers(copied: Any) -> None:
    model = Derived()
    del model.derived
    twin = copied(model)
    assert list(twin.state_dict()) == NAMES
    twin.more = Tensor([1.0])
    assert list(twin.state_dict()) == NAMES
    twin.register_buffer("own", Tensor([1.0]))
    assert list(twin.state_dict()) == [*NAMES, "own"]
    assert list(model.state_dict()) == NAMES


def test_buffers_of_two_names_stay_one(device: str) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = self.b = Tensor([1.0])

    model = Shared()
    assert list(model.state_dict()) == ["a", "b"]
    assert [name for name, _ in model.named_buffers()] == ["a"]
    model.load_state_dict({"b": [3.0]})
    assert model.a is model.b
    assert model.a.tolist() == [3.0]
    assert copy.deepcopy(model).a.tolist() == [3.0]


def test_a_loss_keeps_its_weights_as_buffers(device: str) -> None:
    loss = nn.CrossEntropyLoss(weight=Tensor([1.0, 2.0]))
    assert list(loss.state_dict()) == ["weight"]


@pytest.mark.usefixtures("numba")
def test_to_moves_what_is_no_state_too() -> None:
    model = Recurrent().to("cpu:numpy")
    model.h = Tensor([[1.0]], device="cpu:numpy")
    model.to("cpu:numba")
    assert {model.h.device, model.mean.device, model.weight.device} == {"cpu:numba"}


def test_a_module_can_be_an_abstract_class_a_dataclass_and_be_inspected() -> None:
    class Abstract(nn.Module, abc.ABC):
        @abc.abstractmethod
        def width(self) -> int: ...

    class Concrete(Abstract):
        def __init__(self) -> None:
            super().__init__()
            self.mean = Tensor([1.0])

        def width(self) -> int:
            return 1

    with pytest.raises(TypeError, match="abstract"):
        Abstract()  # type: ignore[abstract]
    assert list(Concrete().state_dict()) == ["mean"]

    @dataclasses.dataclass(eq=False)
    class Data(nn.Module):
        mean: Tensor
        size: int = 3

    model = Data(Tensor([1.0]))
    model.h = Tensor([2.0])  # type: ignore[attr-defined]
    assert list(model.state_dict()) == ["mean"]
    assert list(inspect.signature(Data).parameters) == ["mean", "size"]
    parameters = inspect.signature(nn.Linear).parameters
    assert list(parameters)[:3] == ["in_features", "out_features", "bias"]
    assert not inspect.signature(nn.Module).parameters
