"""Datasets, transforms and the loader that makes batches of them.

    train, test = mnist5k()
    for images, labels in DataLoader(train, batch_size=64, shuffle=True):
        ...

A dataset is anything with `len` and indexing; `Dataset` adds transforms, `DataLoader` batches.
"""

from babygrad.data.cifar import CIFAR10Dataset, CIFAR100Dataset
from babygrad.data.dataset import ArrayDataset, Dataset, TensorDataset
from babygrad.data.loader import DataLoader
from babygrad.data.mnist import MNISTDataset, mnist5k, parse_mnist
from babygrad.data.transforms import RandomCrop, RandomFlipHorizontal

__all__ = [
    "ArrayDataset",
    "CIFAR10Dataset",
    "CIFAR100Dataset",
    "DataLoader",
    "Dataset",
    "MNISTDataset",
    "RandomCrop",
    "RandomFlipHorizontal",
    "TensorDataset",
    "mnist5k",
    "parse_mnist",
]
