"""Reads pickles that hold dicts, lists, text, numbers and arrays of bytes, and nothing else.

A pickle is a program for a small machine with a stack and a memo. It may name any function for the
machine to call, and few bytes of it can ask for gigabytes: a memo of 100,000,000 places, a text
that is encoded again and again, bytes of a length that is only claimed. The machine here knows the
instructions that CIFAR's batches consist of. It calls stand-ins for numpy's functions, which make
nothing but arrays of bytes, and what it makes is bounded by the size of the file.
"""

from __future__ import annotations

import codecs
import io
import pickletools
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np

from babygrad.tensor import NDArray

OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
# CIFAR-100's training set takes 500,000; each costs some 100 bytes of memory at most.
MOST_INSTRUCTIONS = 2_000_000


def unpickle(content: bytes) -> Any:
    """The object that the pickle in `content` makes, with `ByteArray` for arrays.

    Raises
    ------
    UnpicklingError
        When it needs more than this module knows, or is damaged.
    """
    try:
        return _Machine(content).run()
    # A damaged pickle fails in many ways: these are what instructions raise on unfit operands.
    except (TypeError, ValueError) as error:
        raise UnpicklingError(str(error)[:300]) from None
    except (ArithmeticError, AttributeError, LookupError) as error:
        raise UnpicklingError(f"{type(error).__name__}: {error}"[:300]) from None


def shown(value: Any) -> str:
    """A value for a message: text or a small number; others may be as large as the file."""
    if isinstance(value, str | bytes):
        return repr(value[:60])
    if isinstance(value, int) and value.bit_length() <= 64:
        return repr(value)
    return f"a {type(value).__name__}"


# ----- What stands in for numpy's own classes and functions -----


class _Uint8:
    """Stands in for numpy.dtype: the only type there is."""

    def __init__(self, name: Any, *_: Any) -> None:
        if name not in ("u1", b"u1"):
            raise UnpicklingError(f"an array of type {shown(name)}, not of bytes")

    def __setstate__(self, state: Any) -> None:
        """Byte order and alignment of single bytes are of no consequence."""


class ByteArray:
    """Stands in for numpy.ndarray: filled by its state, from bytes that are in the file."""

    array: NDArray = np.empty(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        self.fill(content, dtype, shape, "F" if fortran else "C")

    def fill(self, content: Any, dtype: Any, shape: Any, order: Any) -> None:
        if not isinstance(dtype, _Uint8) or not isinstance(content, bytes | bytearray):
            raise UnpicklingError("an array that is not of bytes")
        self.array = np.frombuffer(content, np.uint8).reshape(shape, order=order)


def _reconstruct(cls: Any, *_: Any) -> ByteArray:
    """What numpy calls _reconstruct: an array that its state will fill."""
    if cls is not ByteArray:
        raise UnpicklingError("an array of another class than numpy.ndarray")
    return ByteArray()


def _frombuffer(content: Any, dtype: Any, shape: Any, order: Any) -> ByteArray:
    """What numpy calls _frombuffer, which pickles of protocol 5 call."""
    array = ByteArray()
    array.fill(content, dtype, shape, order)
    return array


def _encode(text: Any, encoding: Any) -> bytes:
    """_codecs.encode, by which Python 3 writes bytes into a pickle of protocol 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise UnpicklingError(f"text to be encoded as {shown(encoding)}")
    return text.encode("latin1")


STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _encode,
    ("numpy", "dtype"): _Uint8,
    ("numpy", "ndarray"): ByteArray,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
}


# ----- The machine -----


class _Machine:
    """Runs a pickle. The methods are instructions; pickletools documents each under its name."""

    def __init__(self, content: bytes) -> None:
        self.file = io.BytesIO(content)
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        # Encoding is what could make much of little; each text of a batch is encoded once.
        self.unencoded = len(content)

    def run(self) -> Any:
        for _ in range(MOST_INSTRUCTIONS):
            code = self.file.read(1).decode("latin-1")
            instruction = OPCODES.get(code)
            if instruction is None:
                raise UnpicklingError("it ends too early" if not code else "it is no pickle")
            name = instruction.name
            if name == "STOP":
                return self.stack.pop()
            if name == "STRING":
                argument: Any = codecs.escape_decode(self.file.readline().strip()[1:-1])[0]
            else:
                argument = instruction.arg.reader(self.file) if instruction.arg else None
            if name in PUSHED_AS_IT_IS:
                self.stack.append(argument)
            elif name in INSTRUCTIONS:
                INSTRUCTIONS[name](self, argument)
            else:
                raise UnpicklingError(f"it has the instruction {name}, which no batch needs")
        raise UnpicklingError(f"it has more than {MOST_INSTRUCTIONS:,} instructions")

    def bytes_of_python_2(self, argument: str) -> None:
        self.stack.append(argument.encode("latin-1"))

    def nothing(self, argument: Any) -> None:
        """Of no consequence: the protocol's version, the length of a frame."""

    def mark(self, argument: None) -> None:
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        begin = self.marks.pop()
        values = self.stack[begin:]
        del self.stack[begin:]
        return values

    def last(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise UnpicklingError("the stack is empty")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def list_of(self, values: list[Any]) -> None:
        self.stack.append(values)

    def dict_of(self, values: list[Any]) -> None:
        self.stack.append({})
        self.set_items(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        keys = values[::2]
        # Hashing a tuple is recursive, and a deep one would end the process.
        if type(target) is not dict or not {bytes, str}.issuperset(map(type, keys)):
            raise UnpicklingError("a dict whose keys are not text")
        target.update(zip(keys, values[1::2], strict=True))

    def append(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise UnpicklingError("elements of something else than a list")
        self.stack[-1].extend(values)

    def find(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise UnpicklingError("a name that is not text")
        if (module, name) not in STAND_INS:
            raise UnpicklingError(f"it asks for {module:.90}.{name:.90}, which no batch needs")
        self.stack.append(STAND_INS[module, name])

    def call(self, argument: None) -> None:
        function, arguments = self.last(2)
        if type(arguments) is not tuple:
            raise UnpicklingError("a call without a tuple of arguments")
        if function is _encode:
            self.unencoded -= sum(len(text) for text in arguments[:1])
            if self.unencoded < 0:
                raise UnpicklingError("it encodes more text than it has")
        self.stack.append(function(*arguments))

    def build(self, argument: None) -> None:
        (state,) = self.last(1)
        if not isinstance(self.stack[-1], _Uint8 | ByteArray):
            raise UnpicklingError("a state for something else than an array")
        self.stack[-1].__setstate__(state)

    def put(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    def get(self, place: int) -> None:
        self.stack.append(self.memo[place])

    def outside(self, argument: Any) -> None:
        raise UnpicklingError("it refers to an object outside of the file")


PUSHED_AS_IT_IS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}

INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.nothing,
    "FRAME": _Machine.nothing,
    "BINSTRING": _Machine.bytes_of_python_2,
    "SHORT_BINSTRING": _Machine.bytes_of_python_2,
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "MARK": _Machine.mark,
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "TUPLE1": lambda machine, _: machine.stack.append(tuple(machine.last(1))),
    "TUPLE2": lambda machine, _: machine.stack.append(tuple(machine.last(2))),
    "TUPLE3": lambda machine, _: machine.stack.append(tuple(machine.last(3))),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.since_mark())),
    "EMPTY_LIST": lambda machine, _: machine.list_of([]),
    "LIST": lambda machine, _: machine.list_of(machine.since_mark()),
    "APPEND": lambda machine, _: machine.append(machine.last(1)),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "EMPTY_DICT": lambda machine, _: machine.dict_of([]),
    "DICT": lambda machine, _: machine.dict_of(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "GLOBAL": lambda machine, names: machine.find(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.find(*machine.last(2)),
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "PERSID": _Machine.outside,
    "BINPERSID": _Machine.outside,
}
