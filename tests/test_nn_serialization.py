"""Files of weights: every layout round-trips, damage is refused, a failed save leaves no trace."""

from __future__ import annotations

import json
import math
import os
import pickle
import struct
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from babygrad import Tensor, nn
from babygrad.serialization import load_file, load_metadata, save_file

BASE = np.arange(24.0).reshape(4, 6)
LAYOUTS = {
    "row-major": BASE,
    "column-major": np.asfortranarray(BASE),
    "transposed": BASE.T,
    "strided": BASE[::2, ::3],
    "negative": BASE[::-1, ::-2],
    "0-d": np.array(2.5),
    "empty": np.zeros((0, 3)),
    "big-endian": BASE.astype(">f8"),
    "broadcast": np.broadcast_to(np.arange(3.0), (2, 3)),
}
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]


def file_of(header: Any, body: bytes, length: int | None = None) -> bytes:
    """A safetensors file by its specification."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_round_trips(layout: str, tmp_path: Path) -> None:
    array = LAYOUTS[layout]
    save_file({"a": array, "other": np.ones(3)}, tmp_path / "f")
    found = load_file(tmp_path / "f")
    assert list(found) == ["a", "other"]
    np.testing.assert_array_equal(found["a"], array)
    assert found["a"].shape == array.shape
    assert found["a"].dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_round_trips(dtype: str, tmp_path: Path) -> None:
    array = np.array([0, 1, 2, 5]).astype(dtype)
    save_file({"a": Tensor(array, dtype=dtype)}, tmp_path / "f")
    found = load_file(tmp_path / "f")["a"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, np.inf, 3.140625], "float32")
    halves = (values.view("uint32") >> 16).astype("<u2").tobytes()
    (tmp_path / "f").write_bytes(file_of({"a": entry([4], 0, 8, "BF16")}, halves))
    found = load_file(tmp_path / "f")["a"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


def nearest_even(value: float, digits: int, least: int) -> float:
    """`value` with so many binary digits, and none below 2**least; exact rational arithmetic."""
    if value == 0 or not np.isfinite(value):
        return value
    exact = Fraction(value)
    unit = Fraction(2) ** max(math.frexp(value)[1] - digits, least)
    return float(round(exact / unit) * unit)  # round() takes ties to even


def hard_to_round(dtype: str) -> Any:
    """Ties and their neighbours by one bit, among them subnormal numbers."""
    rng = np.random.default_rng(0)
    for digits in (8, 11):
        short = np.ldexp(np.round(rng.normal(size=400) * 2**digits), rng.integers(-145, 3, 400))
        ties = (short * (1 + 2.0**-digits)).astype(dtype)
        yield from (ties, np.nextafter(ties, np.inf), np.nextafter(ties, -np.inf))
    # A float64 that float32 rounds to a tie.
    yield (1 + 2.0**-8 + np.array([-1, 1]) * 2.0**-40).astype(dtype)
    yield np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 65504, -65519.9, 6e-8, 1e-45], dtype)


@pytest.mark.parametrize("layout", ["row-major", "strided"])
@pytest.mark.parametrize(
    ("stored", "digits", "least"), [("bfloat16", 8, -133), ("float16", 11, -24)]
)
def test_floats_are_written_as_the_nearest_even(
    stored: str, digits: int, least: int, layout: str, dtype: str, tmp_path: Path
) -> None:
    values = np.concatenate(list(hard_to_round(dtype)))
    array = values if layout == "row-major" else np.repeat(values, 2)[::2]
    save_file({"a": array, "ids": np.arange(3)}, tmp_path / "f", dtype=stored)
    found = load_file(tmp_path / "f")
    assert found["ids"].dtype == np.int64
    expected = np.array([nearest_even(float(v), digits, least) for v in values])
    np.testing.assert_array_equal(found["a"].astype("f8"), expected)
    same_sign = np.signbit(found["a"]) == np.signbit(values)
    assert same_sign[~np.isnan(values)].all()


def test_bfloat16_is_written_as_pytorch_writes_it(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the reference")
    reader = pytest.importorskip("safetensors.torch", reason="the reference")
    bits = np.random.default_rng(1).integers(0, 2**32, 20_000, dtype="uint32")
    values = bits.view("float32")
    values = values[~(abs(values) > 3.38e38)].reshape(-1, 1)
    save_file({"é": values, "n": np.ones(3)}, tmp_path / "f", {"k": "v"}, dtype="bfloat16")
    found = reader.load_file(tmp_path / "f")
    assert found["é"].dtype == torch.bfloat16
    expected = torch.from_numpy(values).bfloat16()
    numbers = ~torch.isnan(expected)
    assert torch.equal(found["é"][numbers].view(torch.int16), expected[numbers].view(torch.int16))
    assert torch.isnan(found["é"][~numbers]).all()
    reader.save_file({"a": expected}, tmp_path / "g")
    again = load_file(tmp_path / "g")["a"]
    np.testing.assert_array_equal(again, expected.float().numpy())
    assert load_metadata(tmp_path / "f") == {"k": "v"}


@pytest.mark.parametrize("stored", ["bfloat16", "float16"])
def test_a_model_in_half_the_bytes(stored: str, device: str, tmp_path: Path) -> None:
    model = Tied()
    model.save(tmp_path / "f", dtype=stored)
    assert os.path.getsize(tmp_path / "f") < 2 * 15 + 300
    other = Tied()
    other.load(tmp_path / "f")
    weight = model.embedding.weight.data
    assert other.embedding.weight.dtype == np.float32
    error = 2.0**-8 if stored == "bfloat16" else 2.0**-11
    np.testing.assert_allclose(other.embedding.weight.data, weight, rtol=error, atol=2.0**-25)
    assert (other.embedding.weight.data != weight).any()
    other.save(tmp_path / "g", dtype=stored)
    again = load_file(tmp_path / "g")
    assert again["out.weight"] is again["embedding.weight"]
    np.testing.assert_array_equal(again["out.weight"], other.embedding.weight.data)


def test_numbers_that_a_narrow_type_cannot_hold_are_refused(tmp_path: Path) -> None:
    for stored, value in (("float16", 65520.0), ("bfloat16", 3.4e38), ("float32", -1e39)):
        with pytest.raises(
            ValueError, match=f"save: w has values up to .*, too large for {stored}"
        ):
            save_file({"w": np.array([value, np.inf])}, tmp_path / "f", dtype=stored)
    with pytest.raises(ValueError, match=r"save: dtype \(='int8'\) must be one of bfloat16"):
        save_file({"w": np.ones(1)}, tmp_path / "f", dtype="int8")
    assert not list(tmp_path.iterdir())


OWN = {"babygrad.format": "1"}
TWICE = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
DAMAGED = {
    "trailing bytes": file_of({"a": entry([2], 0, 8)}, bytes(12)),
    "truncated": file_of({"a": entry([2], 0, 8)}, bytes(4)),
    "gap": file_of({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)),
    "overlap": file_of({"a": entry([2], 0, 8), "b": entry([1], 4, 8)}, bytes(8)),
    "duplicate key": file_of(TWICE + TWICE[1:-1] + b"}", bytes(8)),
    "NaN in JSON": file_of(b'{"a":NaN}', b""),
    "oversized header": file_of(b"{}", b"", length=2**62),
    "header beyond the end": file_of(b"{}", b"", length=1000),
    "shape of another size": file_of({"a": entry([3], 0, 8)}, bytes(8)),
    "shape that overflows": file_of({"a": entry([2**40, 2**40], 0, 8)}, bytes(8)),
    "negative shape": file_of({"a": entry([-2], 0, 8)}, bytes(8)),
    "unknown dtype": file_of({"a": entry([2], 0, 8, "X9")}, bytes(8)),
    "8-bit float": file_of({"a": entry([8], 0, 8, "F8_E4M3")}, bytes(8)),
    "metadata that are no strings": file_of({"__metadata__": {"x": 1}}, b""),
    "broken ties": file_of({"__metadata__": {**OWN, "babygrad.tied": "{"}}, b""),
    "a tie to nothing": file_of({"__metadata__": {**OWN, "babygrad.tied": '{"a": "b"}'}}, b""),
    "no header": b"\x01",
    "nothing": b"",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_files_raise(damage: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DAMAGED[damage])
    with pytest.raises(ValueError, match=r"^load: "):
        load_file(tmp_path / "f")


def test_a_pickle_is_refused_with_the_reason(tmp_path: Path) -> None:
    for protocol in range(2, 6):
        (tmp_path / "f").write_bytes(pickle.dumps({"weight": [1.0]}, protocol))
        with pytest.raises(ValueError, match=r"is a pickle file\. Unpickling can run any program"):
            nn.Linear(1, 1).load(tmp_path / "f")
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("data.pkl", b"")
    with pytest.raises(ValueError, match=r"a zip file, as torch\.save writes"):
        load_file(tmp_path / "z")


def test_a_header_of_a_length_that_looks_like_a_pickle_is_read(tmp_path: Path) -> None:
    header = json.dumps({"a": entry([1], 0, 4)}).encode().ljust(0x0480)
    (tmp_path / "f").write_bytes(file_of(header, bytes(4)))
    assert load_file(tmp_path / "f")["a"].tolist() == [0.0]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.out = nn.Module()
        self.out.weight = self.embedding.weight  # type: ignore[attr-defined]


def test_tied_weights_are_saved_once_and_tied_again(tmp_path: Path) -> None:
    model = Tied()
    model.save(tmp_path / "f", {"epoch": "3"})
    assert load_metadata(tmp_path / "f") == {"epoch": "3"}
    one = 4 * 15
    assert one < os.path.getsize(tmp_path / "f") < 2 * one + 300
    found = load_file(tmp_path / "f")
    assert found["out.weight"] is found["embedding.weight"]
    other = Tied()
    other.load(tmp_path / "f")
    assert other.out.weight is other.embedding.weight  # type: ignore[attr-defined]
    np.testing.assert_array_equal(other.embedding.weight.data, model.embedding.weight.data)


def test_views_of_one_array_are_not_ties(tmp_path: Path) -> None:
    array = np.arange(4.0)
    save_file({"a": array, "b": array[:2], "c": array[::-1]}, tmp_path / "f")
    found = load_file(tmp_path / "f")
    assert [found[k].tolist() for k in "abc"] == [[0, 1, 2, 3], [0, 1], [3, 2, 1, 0]]


def test_a_model_round_trips(device: str, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3))
    x = Tensor(np.random.default_rng(0).normal(size=(2, 1, 4, 4)))
    model(x)  # moves the running averages
    model.save(tmp_path / "model.safetensors")
    other = nn.Sequential(nn.Conv(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 3))
    other.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(other.eval()(x).data, model.eval()(x).data)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": np.ones(3)}, path)

    def fail(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="disk full"):
        save_file({"a": np.zeros(3)}, path)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    assert load_file(path)["a"].tolist() == [1.0, 1.0, 1.0]


def test_values_that_are_no_numbers_are_refused_before_a_file_is_touched(tmp_path: Path) -> None:
    for value in (np.array(["x"]), np.array([1j]), np.array([None])):
        with pytest.raises(TypeError, match=r"save: a: data of type .* is not an array of numbers"):
            save_file({"a": value}, tmp_path / "f")
    with pytest.raises(TypeError, match="metadata must map strings"):
        save_file({"a": np.ones(1)}, tmp_path / "f", {"epoch": 3})  # type: ignore[dict-item]
    assert not list(tmp_path.iterdir())


def test_the_official_library_reads_what_is_written(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy", reason="the reference reader")
    save_file({"a": BASE.T, "b": BASE[::2]}, tmp_path / "f")
    found = safetensors.load_file(tmp_path / "f")
    np.testing.assert_array_equal(found["a"], BASE.T)
    np.testing.assert_array_equal(found["b"], BASE[::2])
