"""Pickles that are no batches of CIFAR: refused in a sentence, within little memory."""

import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from babygrad.data import CIFAR10Dataset

PIXELS = np.random.default_rng(1).integers(0, 256, (4, 3072)).astype(np.uint8)


def cifar_batch(**changes):
    batch = {b"labels": [6, 9, 0, 3], b"data": PIXELS}
    return batch | {key.encode(): value for key, value in changes.items()}


@pytest.fixture
def folder(tmp_path):
    """Writes one object as the test batch of a CIFAR-10 folder."""

    def write(content, protocol=2):
        packed = content if isinstance(content, bytes) else pickle.dumps(content, protocol)
        (tmp_path / "test_batch").write_bytes(packed)
        return tmp_path

    return write


class Call:
    """Pickles as a call of a function when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def not_bytes():
    return np.zeros((4, 3072), np.float32)


REFUSED = {
    "print": (Call(print, "owned"), "it asks for (builtins|__builtin__).print, which no batch"),
    "eval": (cifar_batch(data=Call(eval, "1")), r"it asks for (builtins|__builtin__).eval"),
    "getattr": (Call(getattr, "x", "upper"), "it asks for (builtins|__builtin__).getattr"),
    "big-array": (Call(np.ndarray, (1 << 40,)), "not a batch of CIFAR-10"),
    "objects": (cifar_batch(data=np.array([None, "x"], object)), "an array of type"),
    "floats": (cifar_batch(data=not_bytes()), "an array of type"),
    "codec": (Call(__import__("_codecs").encode, "x", "zip"), "text to be encoded as"),
    "list": ([1, 2], "it holds a list, not a dict"),
    "no-data": ({b"labels": [1]}, "it has no array 'data' and list 'labels'"),
    "shape": (cifar_batch(data=PIXELS[:, :100]), r"its data has shape \(4, 100\), not \(n, 3072"),
    "count": (cifar_batch(labels=[1, 2]), "4 images, but 2 labels"),
    "label": (cifar_batch(labels=[1, 2, 3, 10]), r"label 3 \(=10\) is no integer of 0 to 9"),
    "text": (b"these are no batches", "not a batch of CIFAR-10"),
    "cut": (pickle.dumps(cifar_batch(), 2)[:-700], "not a batch of CIFAR-10"),
    "empty": (b"", "not a batch of CIFAR-10"),
    "persistent": (b"Pmy-id\n.", "it refers to an object outside of the file"),
    "recursive-name": (b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.", "ndarray.dumps"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_pickle_that_is_no_batch_is_refused_in_one_sentence(folder, case, capsys):
    content, message = REFUSED[case]
    with pytest.raises(ValueError, match=message) as caught:
        CIFAR10Dataset(folder(content), train=False)
    assert "test_batch: not a batch of CIFAR-10: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def packed(code, form, value):
    return code + struct.pack(form, value)


def memo(place):
    return b"\x80\x02N" + packed(b"r", "<I", place) + b"."


def encoded_again_and_again():
    """A text of 1 MB that 20,000 calls are to encode: 20 GB from a file of 1.2 MB."""
    text = packed(b"X", "<I", 1 << 20) + b"a" * (1 << 20)
    call = b"h\x00h\x01h\x02\x86R"
    constants = b"c_codecs\nencode\nq\x00" + text + b"q\x01X\x06\x00\x00\x00latin1q\x02"
    return b"\x80\x02" + constants + call * 20_000 + b"."


DEEP = b")" + b"\x85" * 500_000  # tuples of tuples; C code that recurses into them crashes
LABEL = b"\x80\x02}(U\x06labels](%be"  # a batch with one image, to be completed
IMAGE = (
    b"U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
    b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T\x00\x0c\x00\x00"
    + bytes(3072)
    + b"tbu."
)

HOSTILE = {
    "memo-text": (b"Np100000000\n.", "it holds a NoneType"),
    "memo-ten-bytes": (b"p100000000", "not a batch of CIFAR-10"),
    "memo-100-million": (memo(100_000_000), "it holds a NoneType"),
    "memo-4-billion": (memo(2**32 - 1), "it holds a NoneType"),
    "memo-of-nothing": (b"h\x00.", "not a batch of CIFAR-10: KeyError"),
    "frame": (packed(b"\x80\x04\x95", "<Q", 1 << 40), "it ends too early"),
    "bytes": (packed(b"B", "<I", 2**32 - 1), "expected 4294967295 bytes"),
    "bytes8": (packed(b"\x8e", "<Q", 1 << 40), "expected 1099511627776 bytes"),
    "bytearray8": (packed(b"\x96", "<Q", 1 << 40), "expected 1099511627776 bytes"),
    "text8": (packed(b"\x8d", "<Q", 1 << 62), "expected 4611686018427387904 bytes"),
    "long": (packed(b"\x8b", "<i", 2**31 - 1), "not enough data in stream"),
    "string": (packed(b"T", "<i", 2**31 - 1), "expected 2147483647 bytes"),
    "digits": (b"L" + b"9" * 1_000_000 + b"L\n.", "not a batch of CIFAR-10"),
    "sets": (b"\x8f" * 1_000_000, "it has the instruction EMPTY_SET, which no batch needs"),
    "instructions": (b"N" * 3_000_000, "it has more than 2,000,000 instructions"),
    "lists": (b"]" * 1_000_000, "it ends too early"),
    "encode": (encoded_again_and_again(), "it encodes more text than it has"),
    "deep-key": (b"}" + DEEP + b"Ns.", "a dict whose keys are not text"),
    "deep-name": (b"\x80\x04" + DEEP + DEEP + b"\x93.", "a name that is not text"),
    "deep-type": (b"cnumpy\ndtype\n" + DEEP + b"\x85R.", "an array of type a tuple"),
    "deep-label": (LABEL % DEEP + IMAGE, r"label 0 \(=a tuple\) is no integer of 0 to 9"),
    "large-label": (LABEL % (b"\x8b\x00\x10\x00\x00" + b"\x7f" * 4096) + IMAGE, "label 0 .*int"),
    "own-label": (LABEL % b"]q\x00h\x00a" + IMAGE, r"label 0 \(=a list\) is no integer"),
    "arguments": (b"cnumpy\nndarray\n]R.", "a call without a tuple of arguments"),
    "state": (b"]]b.", "a state for something else than an array"),
    "elements": (b"}(NNe.", "elements of something else than a list"),
    "tuple-of-nothing": (b"\x87.", "the stack is empty"),
    "nothing": (b".", "not a batch of CIFAR-10: IndexError"),
}

READER = """
import resource, sys
from babygrad.data import CIFAR10Dataset

pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + (200 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    CIFAR10Dataset(sys.argv[1], train=False)
except ValueError as error:
    print(error)
"""


def read_within_200_mb(path):
    run = subprocess.run(
        [sys.executable, "-c", READER, path], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_pickle_is_refused_within_little_memory(folder, case):
    content, message = HOSTILE[case]
    said = read_within_200_mb(folder(content))
    assert said.count("\n") == 1
    assert len(said) < 500
    with pytest.raises(ValueError, match=f"not a batch of CIFAR-10.*{message}|{message}"):
        raise ValueError(said)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_a_file_larger_than_any_batch_is_not_read(tmp_path):
    with open(tmp_path / "test_batch", "wb") as file:
        file.truncate(3 << 30)
    assert "it has 3,221,225,472 bytes, three times those of the largest" in read_within_200_mb(
        tmp_path
    )


def test_strings_of_python_2s_first_protocol_are_bytes(folder):
    """Quoted and escaped, as Python 2 wrote them, with any bytes in them."""
    raw = bytes(range(256)) * 12
    quoted = b"".join(b"\\x%02x" % byte for byte in raw)
    content = (
        b"(dp0\nS'labels'\np1\n(lp2\nI7\nasS'data'\np3\ncnumpy.core.multiarray\n_reconstruct\n"
        b"p4\n(cnumpy\nndarray\np5\n(I0\ntS'b'\ntR(I1\n(I1\nI3072\ntcnumpy\ndtype\n"
        b"(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'" + quoted + b"'\ntbs."
    )
    image, label = CIFAR10Dataset(folder(content), train=False)[0]
    expected = np.frombuffer(raw, np.uint8).reshape(3, 32, 32).astype(np.float32) / 255
    np.testing.assert_array_equal(image, expected)
    assert label == 7
