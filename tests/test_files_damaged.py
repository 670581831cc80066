"""What a file claims is checked before it is believed; what is saved can be loaded."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from babygrad import nn
from babygrad.serialization import load_file, load_metadata, save_file

GIGABYTES = 3 * 2**30


def file_of(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(shape: Any, start: Any, end: Any, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


A = entry([2], 0, 8)
OWN = {"babygrad.format": "1"}
DAMAGED = {
    "empty": b"",
    "part of the length": bytes(7),
    "no header": bytes(8),
    "header cut off": file_of({"a": A}, bytes(8))[:30],
    "above the limit": struct.pack("<Q", 100_000_001) + b"{}",
    "a length of 64 bits": struct.pack("<Q", 2**64 - 1) + b"{}",
    "no UTF-8": file_of(b'{"\xff\xfe": 1}'),
    "UTF-16": file_of(json.dumps({"a": A}).encode("utf-16-le"), bytes(8)),
    "a surrogate": file_of(
        b'{"\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)
    ),
    "a surrogate in metadata": file_of(b'{"__metadata__":{"a":"\\udfff"}}'),
    "no JSON": file_of(b"{nonsense}"),
    "a list": file_of(b"[1, 2]"),
    "a string": file_of(b'"a"'),
    "null": file_of(b"null"),
    "space before": file_of(b' {"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
    "deep": file_of(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "a number of many digits": file_of(b'{"a":' + b"9" * 5000 + b"}"),
    "NaN": file_of(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', bytes(8)),
    "Infinity": file_of(b'{"a":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,8]}}', bytes(8)),
    "twice": file_of(b'{"a":{},"a":{}}'),
    "an entry that is none": file_of({"a": 3}),
    "an entry that is a list": file_of({"a": [1, 2]}),
    "no dtype": file_of({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "no shape": file_of({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
    "no offsets": file_of({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    "a dtype that is a number": file_of({"a": entry([2], 0, 8, 32)}, bytes(8)),
    "a shape that is a number": file_of({"a": entry(2, 0, 8)}, bytes(8)),
    "a shape that is a string": file_of({"a": entry("2", 0, 8)}, bytes(8)),
    "a size that is a fraction": file_of({"a": entry([2.0], 0, 8)}, bytes(8)),
    "a size that is true": file_of({"a": entry([True, 2], 0, 8)}, bytes(8)),
    "a negative size": file_of({"a": entry([-1, -2], 0, 8)}, bytes(8)),
    "sizes that overflow": file_of({"a": entry([2**33, 2**33], 0, 8)}, bytes(8)),
    "sizes that wrap to the right number": file_of({"a": entry([2**32, 2**32, 2], 0, 0)}),
    "an enormous size beside 0": file_of({"a": entry([0, 2**70], 0, 0)}),
    "many axes": file_of({"a": entry([1] * 1000, 0, 4)}, bytes(4)),
    "very many sizes": file_of({"a": entry([2**60] * 300_000, 0, 8)}, bytes(8)),
    "one offset": file_of({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8]}}, bytes(8)),
    "three offsets": file_of({"a": {**A, "data_offsets": [0, 4, 8]}}, bytes(8)),
    "a negative offset": file_of({"a": entry([2], -8, 0)}, bytes(8)),
    "offsets in reverse": file_of({"a": entry([0], 8, 0)}, bytes(8)),
    "offsets that overflow": file_of({"a": entry([2], 2**64, 2**64 + 8)}, bytes(8)),
    "offsets beyond the end": file_of({"a": entry([2], 0, 8)}, bytes(7)),
    "a hole": file_of({"a": A, "b": entry([1], 12, 16)}, bytes(16)),
    "a hole at the start": file_of({"a": entry([2], 4, 12)}, bytes(12)),
    "an overlap": file_of({"a": A, "b": A}, bytes(8)),
    "bytes that are no booleans": file_of({"a": entry([2], 0, 2, "BOOL")}, b"\x01\x02"),
    "bytes after the data": file_of({"a": A}, bytes(9)),
    "metadata that are a list": file_of({"__metadata__": ["a"]}),
    "metadata that are an empty list": file_of({"__metadata__": []}),
    "metadata that are null": file_of({"__metadata__": None}),
    "metadata that are 0": file_of({"__metadata__": 0}),
    "metadata that are a string": file_of({"__metadata__": "a"}),
    "metadata of metadata": file_of({"__metadata__": {"a": {"b": "c"}}}),
    "ties that are a list": file_of({"__metadata__": {**OWN, "babygrad.tied": "[1]"}}),
    "ties that are null": file_of({"__metadata__": {**OWN, "babygrad.tied": "null"}}),
    "ties to a number": file_of(
        {"__metadata__": {**OWN, "babygrad.tied": '{"b": 1}'}, "a": A}, bytes(8)
    ),
    "a tie twice": file_of(
        {"__metadata__": {**OWN, "babygrad.tied": '{"b":"a","b":"a"}'}, "a": A}, bytes(8)
    ),
    "own ties that are broken": file_of(
        {"__metadata__": {**OWN, "babygrad.tied": "no"}}
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("read", [load_file, load_metadata, nn.Linear(1, 1).load])
def test_damage_is_a_value_error_that_names_the_file(
    damage: str, read: Any, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(DAMAGED[damage])
    late = ("bytes that are no", "many axes", "an enormous size")  # not before it is read
    if damage.startswith(late) and read is not load_file:
        return
    with pytest.raises(ValueError, match=r"^load: ") as caught:
        read(tmp_path / "f")
    assert type(caught.value) is ValueError
    assert str(tmp_path / "f") in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")
@pytest.mark.parametrize("length", [GIGABYTES - 8, GIGABYTES, 100_000_001, 2**62])
def test_a_header_of_gigabytes_is_refused_before_it_is_read(length: int, tmp_path: Path) -> None:
    with open(tmp_path / "f", "wb") as file:
        file.write(struct.pack("<Q", length) + b'{"a":')
        file.truncate(GIGABYTES)
    code = (
        "import resource, sys, babygrad.serialization as s\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000,) * 2)\n"
        "for read in (s.load_file, s.load_metadata):\n"
        "    try: read(sys.argv[1])\n"
        "    except ValueError as error: print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "f")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    lines = run.stdout.splitlines()
    assert len(lines) == 2
    assert all("more than the 100000000 the format allows" in line for line in lines)


def test_a_header_at_the_limit_is_read(tmp_path: Path) -> None:
    text = json.dumps({"a": A}).encode().ljust(100_000_000)
    (tmp_path / "f").write_bytes(file_of(text, bytes(8)))
    assert load_file(tmp_path / "f")["a"].tolist() == [0.0, 0.0]


def test_what_is_no_file_raises_what_the_system_says(tmp_path: Path) -> None:
    for read in (load_file, load_metadata, nn.Linear(1, 1).load):
        with pytest.raises(IsADirectoryError):
            read(tmp_path)
        with pytest.raises(FileNotFoundError, match="nowhere"):
            read(tmp_path / "nowhere")
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(ValueError, match=r"load: .*fifo is no regular file"):
            read(tmp_path / "fifo")
        os.unlink(tmp_path / "fifo")


# ----- Any bytes -----

SMALL = file_of(
    {
        "__metadata__": {"k": "v"},
        "a": entry([2, 1], 0, 4, "F16"),
        "é": entry([], 4, 8, "I32"),
        "c": entry([0, 3], 8, 8, "F64"),
        "d": entry([3], 8, 11, "BOOL"),
    },
    bytes(11),
)
EDITS = st.lists(
    st.tuples(st.integers(0, len(SMALL)), st.integers(0, 3), st.binary(max_size=3)), max_size=4
)


def edited(edits: list[tuple[int, int, bytes]]) -> bytes:
    content = SMALL
    for place, removed, added in edits:
        content = content[:place] + added + content[place + removed :]
    return content


@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.one_of(st.binary(max_size=60), EDITS.map(edited)), st.booleans())
def test_any_bytes_are_read_or_refused_as_the_official_reader_does(
    tmp_path: Path, content: bytes, with_length: bool
) -> None:
    safetensors = pytest.importorskip("safetensors", reason="the reference reader")
    if with_length and b"}" in content[8:]:
        end = content.rindex(b"}") + 1
        content = struct.pack("<Q", end - 8) + content[8:]
    path = tmp_path / "f"
    path.write_bytes(content)
    try:
        found = {name: x["shape"] for name, x in safetensors.deserialize(content)}
    except safetensors.SafetensorError:
        found = None
    refusal, arrays = None, {}
    try:
        arrays = load_file(path)
        load_metadata(path)
    except ValueError as error:
        refusal = error
    if refusal is None:
        assert {name: list(x.shape) for name, x in arrays.items()} == found
        return
    assert type(refusal) is ValueError
    assert str(refusal).startswith("load: ")
    assert str(path) in str(refusal)
    # What it reads and babygrad refuses: a key twice, no boolean, no type of numpy's.
    reasons = ("twice", "booleans", "babygrad does not have")
    assert found is None or any(reason in str(refusal) for reason in reasons)


# ----- What is saved can be loaded -----

TEXT = st.text(st.characters(), max_size=8)
METADATA = st.dictionaries(
    st.one_of(TEXT, st.sampled_from(["tied", "format", "babygrad.tied", "__metadata__", ""])),
    st.one_of(TEXT, st.sampled_from(["no", "{", "pt", '{"weight": "bias"}'])),
    max_size=3,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(METADATA)
def test_metadata_are_refused_by_save_or_come_back(
    tmp_path: Path, metadata: dict[str, str]
) -> None:
    path = tmp_path / "f"
    path.unlink(missing_ok=True)
    model = nn.Linear(2, 2)
    refusal = None
    try:
        model.save(path, metadata)
    except ValueError as error:
        refusal = str(error)
    if refusal is None:
        assert nn.Linear(2, 2).load(path) == ([], [])
        assert load_metadata(path) == metadata
    else:
        assert refusal.startswith("save: ")
        assert not path.exists()


@pytest.mark.parametrize(
    "metadata", [{"tied": "no"}, {"tied": '{"bias": "weight"}'}, {"format": "pt"}, {}, None]
)
def test_metadata_of_any_key_are_the_users(metadata: Any, device: str, tmp_path: Path) -> None:
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    model.save(tmp_path / "f", metadata=metadata)
    other.load(tmp_path / "f")
    np.testing.assert_array_equal(other.weight.data, model.weight.data)
    assert load_metadata(tmp_path / "f") == (metadata or {})


BAD_METADATA = {
    "a list": ["a"],
    "pairs": [("a", "b")],
    "a string": "a",
    "a number": 3,
    "zero": 0,
    "nothing in quotes": "",
    "a value that is a number": {"epoch": 3},
    "a value that is a dict": {"epoch": {"a": "b"}},
    "a value that is None": {"epoch": None},
    "a key that is a number": {3: "epoch"},
    "bytes": {b"epoch": b"3"},
}


@pytest.mark.parametrize("case", BAD_METADATA)
def test_metadata_of_other_kinds_are_refused_before_a_file_is_touched(
    case: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=r"^save: metadata must map strings to strings"):
        nn.Linear(2, 2).save(tmp_path / "f", BAD_METADATA[case])  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_names_that_no_file_can_hold_are_refused(tmp_path: Path) -> None:
    one = np.ones(1)
    for name, message in (
        ("__metadata__", "'__metadata__' is the format's own"),
        ("\ud800", "half a surrogate pair"),
    ):
        with pytest.raises(ValueError, match=rf"save: the name .*{message}"):
            save_file({name: one}, tmp_path / "f")
    with pytest.raises(TypeError, match="save: the name 3 is a int, not a string"):
        save_file({3: one}, tmp_path / "f")  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="save: a: data of type list is not an array of numbers"):
        save_file({"a": [[1.0], [1.0, 2.0]]}, tmp_path / "f")
    with pytest.raises(ValueError, match=r"save: metadata has the key 'babygrad\.x'"):
        save_file({"a": one}, tmp_path / "f", {"babygrad.x": ""})
    # One in plain text, and one that has JSON's escapes only once it is stored as bfloat16.
    for text, stored in (("x" * 100_000_000, None), ("é" * 30_000_000, "bfloat16")):
        with pytest.raises(ValueError, match=r"save: .*names and metadata"):
            save_file({"a": one}, tmp_path / "f", {"a": text}, dtype=stored)
    assert not list(tmp_path.iterdir())


def test_ties_of_files_that_older_versions_wrote_are_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(
        file_of({"__metadata__": {"tied": '{"b": "a"}', "k": "v"}, "a": A}, bytes(8))
    )
    found = load_file(tmp_path / "f")
    assert found["b"] is found["a"]
    assert load_metadata(tmp_path / "f") == {"k": "v"}


FOREIGN = ["yes", "", "{", "[1]", "null", "{}", '{"b": 1}', '{"b": "c"}', '{"a": "a"}']


@pytest.mark.parametrize("text", [*FOREIGN, '{"b":"a","b":"a"}', "[" * 100_000])
def test_a_note_of_another_library_that_ties_no_names_is_a_note(text: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(file_of({"__metadata__": {"tied": text}, "a": A}, bytes(8)))
    assert load_file(tmp_path / "f").keys() == {"a"}
    assert load_metadata(tmp_path / "f") == {"tied": text}


@pytest.mark.parametrize("axes", [65, 66, 1000])
def test_more_axes_than_an_array_has_are_refused_by_name(axes: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(file_of({"a": entry([1] * axes, 0, 4)}, bytes(4)))
    with pytest.raises(
        ValueError, match=rf"^load: 'a' in .* has {axes} axes, more than the \d+ of"
    ):
        load_file(tmp_path / "f")


@pytest.mark.parametrize("arrays", [[np.ones(2)], np.ones(2), None, "w", [("w", np.ones(2))]])
def test_arrays_without_names_are_refused_before_a_file_is_touched(
    arrays: Any, tmp_path: Path
) -> None:
    found = type(arrays).__name__
    with pytest.raises(TypeError, match=f"^save: arrays must map names .* they are a {found}$"):
        save_file(arrays, tmp_path / "f")
    assert not list(tmp_path.iterdir())
