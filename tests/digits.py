"""Files of handwritten digits that the command's tests train on."""

import gzip
import struct

import numpy as np

from babygrad.data import mnist5k


def write_digits(folder, count=20, pack=gzip.compress, **changes):
    """MNIST's four files with the first digits of mnist5k."""
    end = ".gz" if pack is gzip.compress else ""
    for part, dataset in zip(("train", "t10k"), mnist5k(), strict=True):
        images = np.round(dataset.images[:count] * 255).astype(np.uint8)
        contents = {
            "images-idx3": struct.pack(">4I", 0x803, count, 28, 28) + images.tobytes(),
            "labels-idx1": struct.pack(">2I", 0x801, count) + dataset.labels[:count].tobytes(),
        }
        for kind, content in contents.items():
            name = f"{part}-{kind}-ubyte"
            (folder / f"{name}{end}").write_bytes(pack(changes.get(name, content)))
