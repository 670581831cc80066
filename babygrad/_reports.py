"""What the Trainer shows: a line for each epoch, and a progress bar during it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


def described(averages: dict[str, float]) -> str:
    """The averages of an epoch that there are, for its line."""
    parts = []
    for name, value in averages.items():
        if name.endswith("loss"):
            parts.append(f"{name} {value:.4f}")
        elif not math.isnan(value):
            parts.append(f"{name} {100 * value:.2f} %")
    return ", ".join(parts)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def say_nothing(line: str) -> None:
    pass


@contextmanager
def progress_bar(batches: Iterable[Any], label: str, shown: bool) -> Iterator[Iterable[Any]]:
    """The batches, with a bar that moves as they are taken and leaves when they are done."""
    if not shown:
        yield batches
        return
    from tqdm import tqdm  # not before it is needed: importing babygrad loads numpy alone

    with tqdm(batches, label, leave=False) as bar:
        yield bar
