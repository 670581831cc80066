"""Optimizers, gradient clipping and learning-rate schedules.

    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = LinearWarmup(optimizer, 100, CosineLR(optimizer, 900))
    ...
    optimizer.zero_grad()
    loss.backward()
    clip_grad_norm(optimizer.params, 1.0)
    optimizer.step()
    schedule.step()

The optimizers are written with the backend's functions, so that they run on every device.
"""

from babygrad.optim.adam import Adam, AdamW
from babygrad.optim.adaptive import Adagrad, RMSprop
from babygrad.optim.clip import clip_grad_norm, clip_grad_value
from babygrad.optim.lion import Lion
from babygrad.optim.muon import Muon
from babygrad.optim.optimizer import Optimizer
from babygrad.optim.schedulers import (
    CosineLR,
    LinearWarmup,
    OneCycleLR,
    ReduceLROnPlateau,
    Scheduler,
    StepLR,
)
from babygrad.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "CosineLR",
    "LinearWarmup",
    "Lion",
    "Muon",
    "OneCycleLR",
    "Optimizer",
    "RMSprop",
    "ReduceLROnPlateau",
    "Scheduler",
    "StepLR",
    "clip_grad_norm",
    "clip_grad_value",
]
