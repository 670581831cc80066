"""What a thread carries along: its gradient mode, default device, anomaly watcher and draws."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from babygrad.anomaly import AnomalyWatch
    from babygrad.device import Device
    from babygrad.random import Draws


class ThreadState(threading.local):
    """Settings of one thread; the class attributes are what a new thread starts with."""

    grad_enabled: bool = True
    device: Device | None = None
    anomaly: AnomalyWatch | None = None
    draws: Draws | None = None


local = ThreadState()

default_device: Device | None = None

# One clock orders everything that autograd must order: each recorded operation takes a tick, and
# so does each write into a tensor. Descending ticks are a reverse topological order, and a value
# whose last write is younger than an operation that saved it has changed since.
clock = itertools.count(1)
tick = clock.__next__
