"""Weights of PyTorch: what has the same layout loads, the rest is refused, and none is guessed."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babygrad import Tensor, nn
from babygrad.serialization import load_file, save_file


class Tensorlike:
    """As much of a PyTorch tensor as a state dict's reader can see without PyTorch."""

    def __init__(self, array: Any, dtype: str = "torch.float32") -> None:
        self.array = np.asarray(array)
        self.dtype = dtype
        self.shape = self.array.shape

    def detach(self) -> Tensorlike:
        return Tensorlike(self.array, self.dtype)

    cpu = detach

    def float(self) -> Tensorlike:
        return Tensorlike(self.array.astype("float32"))

    def numpy(self) -> Any:
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array


Tensorlike.__module__ = "torch"


class Parameterlike(Tensorlike):
    """Of a module below `torch`, and asking to be detached first."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")


Parameterlike.__module__ = "torch.nn.parameter"


def official(path: Path, arrays: dict[str, Any], metadata: Any) -> Path:
    """A file as other libraries write it."""
    header, body = {} if metadata is None else {"__metadata__": metadata}, b""
    for name, array in arrays.items():
        raw = np.asarray(array, "<f4")
        offsets = [len(body), len(body) + raw.nbytes]
        header[name] = {"dtype": "F32", "shape": list(raw.shape), "data_offsets": offsets}
        body += raw.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def numbers(*shape: int) -> Any:
    return np.arange(np.prod(shape), dtype="f4").reshape(shape)


# The layer, its arrays in PyTorch's layout, and what PyTorch calls the parameters.
DIFFERENT: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "square": (lambda: nn.Linear(4, 4, bias=False), {"weight": numbers(4, 4)}),
    "one": (lambda: nn.Linear(1, 1, bias=False), {"weight": numbers(1, 1)}),
    "oblong": (lambda: nn.Linear(3, 2), {"weight": numbers(2, 3), "bias": numbers(2)}),
    "inside": (
        lambda: nn.ModuleList([nn.ReLU(), nn.Linear(2, 2)]),
        {"1.weight": numbers(2, 2), "1.bias": numbers(2)},
    ),
    "subclass": (lambda: type("Mine", (nn.Linear,), {})(2, 2, False), {"weight": numbers(2, 2)}),
    "the book's": (lambda: nn.Conv(3, 3, 3), {"weight": numbers(3, 3, 3, 3), "bias": numbers(3)}),
}  # fmt: skip
EQUAL: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "conv1d": (lambda: nn.Conv1d(2, 2, 2), {"weight": numbers(2, 2, 2), "bias": numbers(2)}),
    "conv2d": (lambda: nn.Conv2d(3, 3, 3), {"weight": numbers(3, 3, 3, 3), "bias": numbers(3)}),
    "transpose": (
        lambda: nn.ConvTranspose2d(2, 2, 1), {"weight": numbers(2, 2, 1, 1), "bias": numbers(2)},
    ),
    "embedding": (lambda: nn.Embedding(4, 4), {"weight": numbers(4, 4)}),
    "layer norm": (lambda: nn.LayerNorm(4), {"weight": numbers(4), "bias": numbers(4)}),
    "rms norm": (lambda: nn.RMSNorm(4), {"weight": numbers(4)}),
    "group norm": (lambda: nn.GroupNorm(2, 4), {"weight": numbers(4), "bias": numbers(4)}),
    "batch norm": (
        lambda: nn.BatchNorm1d(2),
        {"weight": numbers(2), "bias": numbers(2), "running_mean": numbers(2),
         "running_var": numbers(2), "num_batches_tracked": np.array(3.0)},
    ),
    "rnn": (
        lambda: nn.RNN(2, 2),
        {"weight_ih_l0": numbers(2, 2), "weight_hh_l0": numbers(2, 2), "bias_ih_l0": numbers(2),
         "bias_hh_l0": numbers(2)},
    ),
    "attention": (
        lambda: nn.MultiHeadAttention(2, 1),
        {"in_proj_weight": numbers(6, 2), "in_proj_bias": numbers(6),
         "out_proj.weight": numbers(2, 2), "out_proj.bias": numbers(2)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", [Tensorlike, Parameterlike])
@pytest.mark.parametrize("case", DIFFERENT)
def test_its_tensors_are_refused_where_the_layouts_differ(
    case: str, kind: Any, device: str
) -> None:
    make, arrays = DIFFERENT[case]
    module = make()
    before = module.state_dict()
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        module.load_state_dict({name: kind(array) for name, array in arrays.items()})
    name = next(name for name in arrays if "weight" in name)
    assert f"layout: {name} is PyTorch's (out, in" in str(caught.value)
    assert f"state[{name!r}] = state[{name!r}].detach().numpy()." in str(caught.value)
    for key, value in module.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("kind", [Tensorlike, Parameterlike])
@pytest.mark.parametrize("case", EQUAL)
def test_its_tensors_load_where_the_layouts_agree(case: str, kind: Any, device: str) -> None:
    make, arrays = EQUAL[case]
    module = make()
    module.load_state_dict({name: kind(array) for name, array in arrays.items()})
    for name, value in module.state_dict().items():
        np.testing.assert_array_equal(value, arrays[name])


@pytest.mark.parametrize("case", DIFFERENT)
def test_its_files_are_refused_where_the_layouts_differ_and_the_way_out_works(
    case: str, device: str, tmp_path: Path
) -> None:
    make, arrays = DIFFERENT[case]
    module = make()
    before = module.state_dict()
    path = official(tmp_path / "pt.safetensors", arrays, {"format": "pt"})
    for strict in (True, False):
        with pytest.raises(ValueError, match="nothing was loaded") as caught:
            module.load(path, strict=strict)
    text = str(caught.value)
    assert "{'format': 'pt'}" in text
    assert f"load_file({str(path)!r})" in text
    for key, value in module.state_dict().items():
        np.testing.assert_array_equal(value, before[key])
    state = load_file(path)
    lines = [line.partition("convert it: ")[2] for line in text.splitlines() if "layout:" in line]
    assert lines
    for line in lines:
        exec(line, {"state": state})
    module.load_state_dict(state)
    for name, array in arrays.items():
        value = module.state_dict()[name]
        if "weight" in name and array.ndim == 2:
            array = array.T
        elif "weight" in name:
            array = np.einsum("oikl->klio", array)
        np.testing.assert_array_equal(value.reshape(array.shape), array)


@pytest.mark.parametrize("case", EQUAL)
def test_its_files_load_where_the_layouts_agree(case: str, device: str, tmp_path: Path) -> None:
    make, arrays = EQUAL[case]
    module = make()
    module.load(official(tmp_path / "pt", arrays, {"format": "pt"}))
    for name, value in module.state_dict().items():
        np.testing.assert_array_equal(value, arrays[name])


def test_a_linear_that_its_file_does_not_have_is_in_nobodys_way(
    device: str, tmp_path: Path
) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(3, 3), nn.Linear(3, 3)

    path = official(tmp_path / "pt", {"embed.weight": numbers(3, 3)}, {"format": "pt"})
    model = Model()
    assert model.load(path, strict=False) == (["head.weight", "head.bias"], [])
    np.testing.assert_array_equal(model.embed.weight.data, numbers(3, 3))


@pytest.mark.parametrize("metadata", [None, {"format": "np"}, {"format": "tf"}, {"by": "pt"}])
def test_other_files_are_taken_as_they_are(metadata: Any, device: str, tmp_path: Path) -> None:
    module = nn.Linear(3, 3, bias=False)
    module.load(official(tmp_path / "f", {"weight": numbers(3, 3)}, metadata))
    np.testing.assert_array_equal(module.weight.data, numbers(3, 3))


def test_arrays_are_taken_as_they_are(device: str) -> None:
    for value in (numbers(3, 3), Tensor(numbers(3, 3)), numbers(3, 3).tolist()):
        module = nn.Linear(3, 3, bias=False)
        module.load_state_dict({"weight": value})
        np.testing.assert_array_equal(module.weight.data, numbers(3, 3))


def test_a_file_of_babygrads_stays_one_whatever_its_metadata_say(tmp_path: Path) -> None:
    module, other = nn.Linear(3, 3), nn.Linear(3, 3)
    module.save(tmp_path / "f", {"format": "pt"})
    other.load(tmp_path / "f")
    np.testing.assert_array_equal(other.weight.data, module.weight.data)
    save_file(module.state_dict(), tmp_path / "g", {"format": "pt"})
    other.load(tmp_path / "g")


def test_its_bfloat16_and_integers_keep_their_values() -> None:
    layer = nn.Embedding(2, 2)
    layer.load_state_dict({"weight": Tensorlike([[1.5, 2], [3, 4]], "torch.bfloat16")})
    assert layer.weight.tolist() == [[1.5, 2.0], [3.0, 4.0]]
    module = nn.Module()
    module.register_buffer("steps", Tensor([0], dtype="int64"))
    module.load_state_dict({"steps": Tensorlike(np.array([2**53 + 1]), "torch.int64")})
    assert module.steps.tolist() == [2**53 + 1]  # type: ignore[attr-defined]


def test_the_hint_of_a_wrong_shape_is_for_layers_of_another_layout() -> None:
    for module, value in (
        (nn.Embedding(5, 3), numbers(3, 5)),
        (nn.Linear(5, 3), numbers(4, 4)),
    ):
        with pytest.raises(ValueError, match="shape: weight is") as caught:
            module.load_state_dict({"weight": value}, strict=False)
        assert "PyTorch" not in str(caught.value)
    with pytest.raises(ValueError, match=r"bias is \(3,\) .*\(nn\.Linear stores \(1, out\), Py"):
        nn.Linear(5, 3).load_state_dict({"bias": numbers(3)}, strict=False)


def test_pytorch_itself() -> None:
    torch = pytest.importorskip("torch", reason="the reference")
    theirs = torch.nn.Linear(4, 4, bias=False)
    for value in (theirs.weight, theirs.weight.detach(), theirs.weight.data):
        with pytest.raises(ValueError, match=r"layout: weight is PyTorch's \(out, in\)"):
            nn.Linear(4, 4, bias=False).load_state_dict({"weight": value})
    image = torch.nn.Conv2d(3, 4, 3)
    ours = nn.Conv2d(3, 4, 3)
    ours.load_state_dict(image.state_dict())
    ours.load_state_dict(dict(image.named_parameters()))
    np.testing.assert_array_equal(ours.weight.data, image.weight.detach().numpy())
    half = nn.Embedding(3, 2)
    half.load_state_dict(torch.nn.Embedding(3, 2).bfloat16().state_dict())
    x = np.ones((1, 4), "float32")
    linear = nn.Linear(4, 4, bias=False)
    linear.load_state_dict({"weight": theirs.weight.detach().numpy().T})
    np.testing.assert_allclose(
        linear(Tensor(x)).data, theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-5
    )
