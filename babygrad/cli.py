"""The command line: `babygrad train` trains a network on digits, `babygrad devices` looks around.

Whatever fails ends with one line on stderr and an exit code: 2 for bad input; 1 for a training that
diverges, weights that could not be saved where they were to be, and output that cannot be written;
130 for Ctrl-C. A reader that has closed the pipe ends it without a line, with 141. The weights of a
training that was cut short, by Ctrl-C or for want of a reader, are saved as they are then.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import babygrad
from babygrad.backends import registry
from babygrad.data import DataLoader, MNISTDataset, RandomCrop, mnist5k
from babygrad.data.mnist import mnist_folder
from babygrad.device import Device, find
from babygrad.models import DigitsCNN, DigitsMLP
from babygrad.nn import Module, SoftmaxLoss
from babygrad.optim import Adam, CosineLR, LinearWarmup
from babygrad.trainer import Trainer

MODELS = {"cnn": DigitsCNN, "mlp": DigitsMLP}
CLASSES = 10

# Adam, one epoch of warm-up, then a cosine, and random shifts by up to SHIFT pixels. On mnist5k's
# test images the CNN reaches 98 % in 15 epochs; without shifts 95 %, in 8 epochs 97.2 to 97.4 %.
# The warm-up keeps the devices together: Adam's first steps have the size of the learning rate
# whatever the gradient, so that a rounding error decides the direction where it is about zero.
# First-epoch losses of two devices differ by 1e-6 with it, and by 8e-4 without.
EPOCHS = 15
BATCH_SIZE = 64
LEARNING_RATE = 3e-3
SHIFT = 2

INTERRUPTED = 130  # what a shell reports of a program that SIGINT ended
READER_GONE = 141  # and of one that SIGPIPE did
LONGEST_NAME = 100  # bytes of a name that is taken where another one failed

Result = TypeVar("Result")


class BadInput(Exception):  # noqa: N818 - the input is bad, the program is not in error
    """The user gave something that cannot be used; the message says what."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default the program's own, and return the exit code."""
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # it was closed when the program began
            setattr(sys, stream, open(os.devnull, "w"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As stderr does: a file's name may have characters that the output's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("babygrad: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return READER_GONE
    except OSError as error:
        _discard_output()
        print(f"babygrad: {error}", file=sys.stderr)
        return 1


def _run(argv: Sequence[str] | None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except BadInput as error:
        _complain(arguments.command, error)
        return 2


def _complain(command: str, error: object) -> None:
    # Some reasons have several lines; the promise is one.
    print(f"babygrad {command}: {' '.join(str(error).split())}", file=sys.stderr)


def _discard_output() -> None:
    """Keep the interpreter from trying again, when it ends, to write what cannot be written."""
    with contextlib.suppress(OSError, ValueError):  # a stdout that is no file of the system's
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# ----- babygrad train -----


def train(arguments: argparse.Namespace) -> int:
    """Train a network on digits, report its accuracy on the test images and save it."""
    name = arguments.device or _checked(babygrad.get_default_device)
    device = _checked(find, name)
    digits = _digits(arguments.data)
    out = arguments.out or Path(f"mnist-{arguments.model}.safetensors")
    _check_writable(out)
    babygrad.manual_seed(arguments.seed)
    with babygrad.device(device.name):
        return _train(arguments, device, digits, out)


def _train(
    arguments: argparse.Namespace,
    device: Device,
    digits: tuple[MNISTDataset, MNISTDataset],
    out: Path,
) -> int:
    train_set, test_set = digits
    loader = DataLoader(train_set, arguments.batch_size, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=500)
    model = MODELS[arguments.model]()
    optimizer = Adam(model.parameters(), arguments.lr)
    cosine = CosineLR(optimizer, max(1, (arguments.epochs - 1) * len(loader)))
    schedule = LinearWarmup(optimizer, len(loader), cosine)
    trainer = Trainer(model, optimizer, SoftmaxLoss(), loader, scheduler=schedule)

    print(
        f"{arguments.model} on {device.name} ({type(device.backend).__name__}), "
        f"{len(train_set)} training and {len(test_set)} test images",
        flush=True,
    )
    begin = time.perf_counter()
    try:
        history = trainer.fit(arguments.epochs)
    except RuntimeError as error:
        _complain("train", error)
        return 1
    except OSError:  # of what it prints
        _save(model, out)
        raise
    epochs = len(history["loss"])
    speed = epochs * len(train_set) / (time.perf_counter() - begin)
    saved = _save(model, out)  # before anything else can fail
    accuracy = trainer.evaluate(test_loader)
    place = "not saved" if saved is None else f"saved {saved}"
    print(f"test accuracy {100 * accuracy:.2f} %, {speed:,.0f} samples/s, {place}")
    if epochs < arguments.epochs:
        return INTERRUPTED
    return 0 if saved == out else 1


def _save(model: Module, out: Path) -> Path | None:
    """Save the weights in `out`, or where there is room for them; the place, or None.

    One line on stderr says so when it is not `out`.
    """
    try:
        model.save(out)
        return out
    except OSError as error:
        reason = f"--out {out}: {error.strerror or error}"
    place = _saved_elsewhere(model, out)
    if place is None:
        what = "the weights are lost: the current and the temporary folder did not take them either"
    else:
        what = f"the weights are saved as {place} instead"
    _complain("train", f"{reason}; {what}")
    return place


def _saved_elsewhere(model: Module, out: Path) -> Path | None:
    """The place in the current or in a temporary folder that took the weights, or None."""
    with contextlib.suppress(OSError):
        place = _free_name(Path(), out)
        model.save(place)
        return place
    with contextlib.suppress(OSError):
        folder = Path(tempfile.mkdtemp(prefix="babygrad-"))
        place = _free_name(folder, out)
        try:
            model.save(place)
        except OSError:
            folder.rmdir()
            raise
        return place
    return None


def _free_name(folder: Path, path: Path) -> Path:
    """A name in a folder that nothing has, like that of `path` and not as long."""
    stem = os.fsencode(path.stem)[:LONGEST_NAME].decode(errors="ignore")
    suffix = os.fsencode(path.suffix)[:LONGEST_NAME].decode(errors="ignore")
    place, count = folder / f"{stem}{suffix}", 1
    while os.path.lexists(place):
        count += 1
        place = folder / f"{stem}-{count}{suffix}"
    return place


def _digits(folder: Path | None) -> tuple[MNISTDataset, MNISTDataset]:
    """The training set, with random shifts, and the test set."""
    shifts = [RandomCrop(SHIFT)]
    if folder is None:
        return mnist5k(shifts)
    digits = _checked(mnist_folder, folder, shifts)
    for part, dataset in zip(("training", "test"), digits, strict=True):
        if not len(dataset):
            raise BadInput(f"{folder}: there are no {part} images")
        if dataset.labels.max() >= CLASSES:
            raise BadInput(
                f"{folder}: {part} label {dataset.labels.argmax()} is {dataset.labels.max()}, "
                f"not one of 0 to {CLASSES - 1}"
            )
    return digits


def _check_writable(out: Path) -> None:
    """Find out before the training, not after it, that its result cannot be saved."""
    if os.path.isdir(out):  # Path.is_dir raises for a name that is too long
        raise BadInput(f"--out {out}: this is a folder")
    folder = Path(os.path.realpath(out)).parent if os.path.islink(out) else out.parent
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(f"--out {out}: the folder {folder} does not exist or is not writable")


def _checked(call: Callable[..., Result], *arguments: Any) -> Result:
    """The result of a call whose failure is the user's input."""
    try:
        return call(*arguments)
    except (OSError, RuntimeError, ValueError) as error:
        raise BadInput(str(error)) from None


# ----- babygrad devices -----


def devices(arguments: argparse.Namespace) -> int:
    """Print each backend, whether it loads and why not, the instruction set and the threads."""
    for name, reason in registry.available().items():
        print(reason or f"cpu:{name} loads")
    default = _checked(find, _checked(babygrad.get_default_device))
    print(f"default: {default.name} ({type(default.backend).__name__})")
    try:
        native = importlib.import_module("babygrad._core")
    except ImportError:
        print("instruction set: none, no compiled extension loads")
    else:
        others = ", ".join(native.available_isas())
        print(f"instruction set: {native.isa()} (this machine has {others})")
        print(f"threads: {native.get_num_threads()}")
    return 0


# ----- The arguments -----


class _Parser(argparse.ArgumentParser):
    """argparse prints the usage before an error; the promise is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="babygrad", description="A deep-learning library that reads like a book.")
    parser.add_argument("--version", action="version", version=babygrad.__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    sub = commands.add_parser(
        "train",
        help="train a network on handwritten digits",
        description="Train a network on the digits that come with babygrad, or on MNIST's files. "
        "Ctrl-C ends the training early and saves the weights.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    sub.set_defaults(run=train)
    sub.add_argument("--model", choices=sorted(MODELS), default="cnn", help="the network")
    sub.add_argument(
        "--data", type=Path, metavar="DIR", help="a folder with MNIST's four files, gzipped or not"
    )
    sub.add_argument("--device", help="such as cpu:numpy; see 'babygrad devices'")
    sub.add_argument("--epochs", type=_positive(int), default=EPOCHS, metavar="N", help="passes")
    sub.add_argument(
        "--batch-size", type=_positive(int), default=BATCH_SIZE, metavar="N", help="images a step"
    )
    sub.add_argument(
        "--lr", type=_positive(float), default=LEARNING_RATE, metavar="X", help="learning rate"
    )
    sub.add_argument("--seed", type=_seed, default=0, metavar="N", help="of all random numbers")
    sub.add_argument(
        "--out", type=Path, metavar="FILE", help="where to save (mnist-MODEL.safetensors)"
    )

    sub = commands.add_parser("devices", help="list the backends of this installation")
    sub.set_defaults(run=devices)
    return parser


def _positive(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    def parse(text: str) -> int | float:
        value = _number(kind, text)
        if value is None or not 0 < value < math.inf:
            what = "integer" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"{text!r} is not a positive {what}")
        return value

    return parse


def _seed(text: str) -> int | float:
    value = _number(int, text)
    if value is None or value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a non-negative integer")
    return value


def _number(kind: type[int] | type[float], text: str) -> int | float | None:
    try:
        return kind(text)
    except ValueError:
        return None
