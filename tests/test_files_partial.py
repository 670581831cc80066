"""Files that hold more than a model wants, or a tied weight under one of its names."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babygrad import Tensor, nn
from babygrad.serialization import load_file, load_metadata, save_file

LACKING = {
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F4": 4,
    "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64, "C128": 128, "I4": 4, "SOMETHING_NEW": 8,
}  # fmt: skip


def written(path: Path, arrays: dict[str, tuple[str, Any]], metadata: Any = None) -> Path:
    """A file of arrays by dtype and values; bytes stand for 8 elements of what numpy lacks."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    body = b""
    for name, (dtype, values) in arrays.items():
        raw = values if isinstance(values, bytes) else values.tobytes()
        shape = [8] if isinstance(values, bytes) else list(values.shape)
        offsets = [len(body), len(body) + len(raw)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        body += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


WEIGHT, BIAS = np.arange(4, dtype="f4").reshape(2, 2), np.ones((1, 2), "f4")


@pytest.mark.parametrize("dtype", LACKING)
def test_a_type_that_babygrad_lacks_harms_only_the_array_that_has_it(
    dtype: str, device: str, tmp_path: Path
) -> None:
    extra = bytes(range(LACKING[dtype]))
    path = written(
        tmp_path / "f",
        {"weight": ("F32", WEIGHT), "scale": (dtype, extra), "bias": ("F32", BIAS)},
    )
    model = nn.Linear(2, 2)
    assert model.load(path, strict=False) == ([], ["scale"])
    np.testing.assert_array_equal(model.weight.data, WEIGHT)
    np.testing.assert_array_equal(model.bias.data, BIAS)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"nothing was loaded\n  unexpected: scale$"):
        model.load(path)
    assert list(load_file(path, ["bias", "weight"])) == ["bias", "weight"]
    assert load_metadata(path) == {}
    for names in (None, ["scale"]):
        with pytest.raises(ValueError, match=rf"^load: 'scale' in .*f has the dtype {dtype}, whi"):
            load_file(path, names)


@pytest.mark.parametrize("dtype", LACKING)
def test_a_type_that_babygrad_lacks_is_named_when_the_model_wants_it(
    dtype: str, device: str, tmp_path: Path
) -> None:
    model = nn.Linear(2, 2)
    before = model.state_dict()
    path = written(
        tmp_path / "f", {"bias": ("F32", BIAS), "weight": (dtype, bytes(LACKING[dtype]))}
    )
    for strict in (True, False):
        with pytest.raises(ValueError, match=rf"^load: 'weight' in .* has the dtype {dtype}, wh"):
            model.load(path, strict)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_what_is_not_wanted_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    monkeypatch.setattr(
        "babygrad._safetensors.read_array",
        lambda file, data, entry: read.append(entry.shape) or np.zeros(entry.shape, "f4"),
    )
    arrays = {"weight": WEIGHT, "bias": BIAS, "other": np.ones((1000, 3))}
    save_file(arrays, tmp_path / "f")
    nn.Linear(2, 2).load(tmp_path / "f", strict=False)
    assert sorted(read) == [(1, 2), (2, 2)]


def test_a_name_that_is_not_there_is_a_key_error(tmp_path: Path) -> None:
    save_file({"a": WEIGHT}, tmp_path / "f")
    with pytest.raises(KeyError, match="b"):
        load_file(tmp_path / "f", ["b"])


# ----- Tied weights -----


class Tied(nn.Module):
    """A language model's two ends, and a buffer of two names."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(3, 2)
        self.head = nn.Module()
        self.head.weight = self.embed.weight  # type: ignore[attr-defined]
        self.scale = self.same = Tensor([2.0])
        self.other = nn.Parameter([0.0])


TABLE = np.arange(6, dtype="f4").reshape(3, 2)


@pytest.mark.parametrize("name", ["embed.weight", "head.weight"])
@pytest.mark.parametrize("scale", ["scale", "same"])
@pytest.mark.parametrize("strict", [True, False])
def test_a_tied_weight_loads_from_any_one_of_its_names(
    name: str, scale: str, strict: bool, device: str, tmp_path: Path
) -> None:
    arrays = {name: TABLE, scale: np.array([7.0], "f4"), "other": np.array([1.0], "f4")}
    path = written(tmp_path / "f", {k: ("F32", v) for k, v in arrays.items()})
    for load in (lambda m: m.load(path, strict), lambda m: m.load_state_dict(arrays, strict)):
        model = Tied()
        assert load(model) == ([], [])
        assert model.embed.weight is model.head.weight  # type: ignore[attr-defined]
        np.testing.assert_array_equal(model.embed.weight.data, TABLE)
        assert model.scale is model.same
        assert model.scale.tolist() == [7.0]


def test_a_tied_weight_under_none_of_its_names_is_missing_under_all() -> None:
    with pytest.raises(ValueError, match="nothing was loaded") as caught:
        Tied().load_state_dict({"scale": [1.0], "wrong": TABLE})
    for line in ("missing: embed.weight", "missing: head.weight", "missing: other"):
        assert line in str(caught.value)
    assert "missing: same" not in str(caught.value)
    report = Tied().load_state_dict({"head.weight": TABLE}, strict=False)
    assert report == (["scale", "same", "other"], [])


def test_what_is_no_state_is_refused() -> None:
    for state in ("weights.safetensors", [("scale", [1.0])], None):
        with pytest.raises(TypeError, match=r"load_state_dict: the state is a .*; it must map"):
            Tied().load_state_dict(state)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unexpected: 3"):
        Tied().load_state_dict({3: [1.0]})  # type: ignore[dict-item]


def test_weights_of_the_same_shape_that_are_not_tied_are_missing() -> None:
    class Loose(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(3, 2), nn.Embedding(3, 2)

    with pytest.raises(ValueError, match=r"missing: head\.weight$"):
        Loose().load_state_dict({"embed.weight": TABLE})


def test_two_values_for_one_tied_weight_are_refused(device: str) -> None:
    model = Tied()
    state = model.state_dict()
    state["head.weight"] = state["head.weight"] + 1
    before = model.embed.weight.numpy()
    for strict in (True, False):
        with pytest.raises(
            ValueError, match=r"tied: embed\.weight and head\.weight are one tensor in the module"
        ):
            model.load_state_dict(state, strict)
    np.testing.assert_array_equal(model.embed.weight.data, before)
    model.embed.weight.data[0, 0] = np.nan
    model.load_state_dict(model.state_dict())
