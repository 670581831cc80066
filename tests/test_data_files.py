"""MNIST's and CIFAR-10's files: what they hold, and what damaged or hostile ones lead to."""

import gzip
import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from babygrad.data import (
    CIFAR10Dataset,
    CIFAR100Dataset,
    DataLoader,
    MNISTDataset,
    RandomCrop,
    parse_mnist,
)
from babygrad.data.mnist import mnist_folder


def idx(array, magic=None, shape=None):
    """An IDX file's bytes, with a header that may lie."""
    magic = magic if magic is not None else 0x800 + array.ndim
    shape = shape or array.shape
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + array.tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
LABELS = np.array([3, 0, 9, 7, 1], np.uint8)


@pytest.fixture
def files(tmp_path):
    """Writes image and label files, and gives their names."""

    def write(images=None, labels=None, pack=bytes):
        images = idx(IMAGES) if images is None else images
        labels = idx(LABELS) if labels is None else labels
        paths = tmp_path / "images", tmp_path / "labels"
        for path, content in zip(paths, (images, labels), strict=True):
            path.write_bytes(pack(content))
        return paths

    return write


# ----- MNIST -----


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_parse_mnist(files, pack):
    images, labels = parse_mnist(*files(pack=pack))
    assert (images.shape, images.dtype, labels.dtype) == ((5, 784), np.float32, np.uint8)
    np.testing.assert_array_equal(images, IMAGES.reshape(5, 784).astype(np.float32) / 255)
    np.testing.assert_array_equal(labels, LABELS)


def test_parse_mnist_by_the_books_names(files):
    images, labels = files()
    assert len(parse_mnist(image_filename=str(images), label_filename=str(labels))[0]) == 5


def test_mnist_dataset_by_index_slice_and_batch(files):
    dataset = MNISTDataset(*files(), transforms=[lambda image: 1 - image])
    plain = IMAGES.astype(np.float32)[..., None] / 255
    assert len(dataset) == 5
    image, label = dataset[2]
    np.testing.assert_array_equal(image, 1 - plain[2])
    assert label == 9
    images, labels = dataset[1:4]
    np.testing.assert_array_equal(images, plain[1:4])  # slices are untransformed, as in the book
    assert labels.tolist() == [0, 9, 7]
    images, labels = next(iter(DataLoader(dataset, 5)))
    np.testing.assert_array_equal(images.data, 1 - plain)
    assert labels.dtype == np.uint8
    assert len(list(dataset)) == 5


def test_an_empty_file_of_images_makes_an_empty_dataset(files):
    dataset = MNISTDataset(*files(idx(IMAGES[:0]), idx(LABELS[:0])))
    assert len(dataset) == 0
    assert list(DataLoader(dataset, 4)) == []


DAMAGED = {
    "no-idx": ({"images": b"hello, world"}, "not an IDX file of images: it starts with 68 65 6c"),
    "empty": ({"images": b""}, "not an IDX file of images: it starts with nothing, not with 00 00"),
    "swapped": ({"images": idx(LABELS)}, "not an IDX file of images: .* 00 00 08 01, not with 00"),
    "labels": ({"labels": idx(IMAGES)}, "not an IDX file of labels: .* 00 00 08 03, not with"),
    "floats": ({"images": idx(IMAGES, 0xD03)}, "not an IDX file of images: .* 00 00 0d 03"),
    "header": ({"images": idx(IMAGES)[:9]}, "images: the file ends within its header"),
    "short": (
        {"images": idx(IMAGES)[:-1]},
        "the header promises 5 images in 3920 bytes, the file holds 3919",
    ),
    "long": ({"labels": idx(LABELS) + b"!"}, "goes on after the 5 labels that its header promises"),
    "empty and huge": (
        {"images": idx(IMAGES[:0], shape=(0, 2**32 - 1, 2**32 - 1))},
        r"images: not an IDX file of images: no array has the shape \(0, 4294967295, 4294967295\)",
    ),
    "size": ({"images": idx(IMAGES[:, :14])}, "images are 14x28, not 28x28"),
    "count": ({"labels": idx(LABELS[:4])}, "has 5 images, but .*labels has 4 labels"),
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_gives_one_sentence_with_its_name(files, case, pack):
    change, message = DAMAGED[case]
    with pytest.raises(ValueError, match=message) as caught:
        parse_mnist(*files(**change, pack=pack))
    assert "\n" not in str(caught.value)
    assert str(next(iter(change))) in str(caught.value)


@pytest.mark.parametrize("damage", ["cut", "bits", "garbage"])
def test_a_damaged_gzip_file_is_refused(files, damage):
    def pack(content):
        zipped = bytearray(gzip.compress(content))
        if damage == "cut":
            return bytes(zipped[:-20])
        if damage == "bits":
            zipped[len(zipped) // 2] ^= 0xFF
            return bytes(zipped)
        return bytes(zipped) + b"garbage"

    with pytest.raises(ValueError, match="the gzip file is damaged"):
        parse_mnist(*files(pack=pack))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_nothing_is_allocated_for_what_a_header_only_promises(files, pack):
    paths = files(idx(IMAGES, shape=(2**32 - 1, 2**16, 2**16)), pack=pack)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="the header promises 4294967295 images"):
            parse_mnist(*paths)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20  # a few chunks of 1 MB
    finally:
        tracemalloc.stop()


def test_a_missing_file_is_an_oserror_that_names_it(files, tmp_path):
    images, _ = files()
    with pytest.raises(OSError, match="nowhere"):
        parse_mnist(images, tmp_path / "nowhere")


def test_mnist_folder_finds_plain_and_gzipped_files(tmp_path):
    for part, pack in (("train", gzip.compress), ("t10k", bytes)):
        end = ".gz" if part == "train" else ""
        (tmp_path / f"{part}-images-idx3-ubyte{end}").write_bytes(pack(idx(IMAGES)))
        (tmp_path / f"{part}-labels-idx1-ubyte{end}").write_bytes(pack(idx(LABELS)))
    assert [len(d) for d in mnist_folder(tmp_path)] == [5, 5]
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no t10k-labels-idx1-ubyte or .*\.gz"):
        mnist_folder(tmp_path)


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize(("end", "pack"), [("", bytes), (".gz", gzip.compress)])
def test_mnist_folder_knows_both_spellings_of_the_names(tmp_path, mark, end, pack):
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images{mark}idx3-ubyte{end}").write_bytes(pack(idx(IMAGES)))
        (tmp_path / f"{part}-labels{mark}idx1-ubyte{end}").write_bytes(pack(idx(LABELS)))
    train, test = mnist_folder(tmp_path)
    for dataset in (train, test):
        np.testing.assert_array_equal(dataset.images * 255, IMAGES.reshape(5, 784))
        assert dataset.labels.tolist() == LABELS.tolist()


IDX_TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def typed(array, kind):
    """An IDX file's bytes with values of another type, big-endian as the format has them."""
    return idx(array.astype(f">{kind}"), IDX_TYPES[kind] << 8 | array.ndim)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("kind", IDX_TYPES)
def test_pixels_and_labels_of_every_idx_type(files, kind, pack):
    pixels = IMAGES // 2 if kind == "i1" else IMAGES
    images, labels = parse_mnist(*files(typed(pixels, kind), typed(LABELS, kind), pack))
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, pixels.reshape(5, 784).astype(np.float32) / 255)
    assert labels.dtype == np.dtype("i8" if kind[0] == "f" else kind)
    assert labels.dtype.isnative
    assert labels.tolist() == LABELS.tolist()
    _, batch = next(iter(DataLoader(MNISTDataset(*files(labels=typed(LABELS, kind))), 5)))
    assert batch.tolist() == LABELS.tolist()


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_pixels_that_are_scaled_already_stay(files, kind):
    images, _ = parse_mnist(*files(typed(IMAGES / 255, kind)))
    np.testing.assert_array_equal(images, (IMAGES.reshape(5, 784) / 255).astype(np.float32))


def changed(array, value, kind):
    array = array.astype(kind)
    array.flat[len(array) // 2 * (array.size // len(array))] = value
    return typed(array, kind)


WRONG_VALUES = {
    "negative": ("images", IMAGES, -1, "i2", "image 2 has a pixel of -1, not one of 0 to 255"),
    "large": ("images", IMAGES, 256, "i4", "image 2 has a pixel of 256, not one of 0 to 255"),
    "nan": ("images", IMAGES, np.nan, "f4", "image 2 has a pixel of nan, not one of 0 to 255"),
    "minus": ("labels", LABELS, -1, "i1", "label 2 has the value -1, not one of the whole numb"),
    "half": ("labels", LABELS, 1.5, "f8", r"label 2 has the value 1\.5, not one of the whole"),
    "inf": ("labels", LABELS, np.inf, "f4", "label 2 has the value inf, not one of the whole"),
}


@pytest.mark.parametrize("case", WRONG_VALUES)
def test_a_value_that_is_no_pixel_or_class_is_named(files, case):
    part, array, value, kind, message = WRONG_VALUES[case]
    with pytest.raises(ValueError, match=f"{part}: {message}"):
        parse_mnist(*files(**{part: changed(array, value, kind)}))


@pytest.mark.parametrize("kind", ["i2", "i4", "f4", "f8"])
def test_a_truncated_file_of_another_type_is_refused(files, kind):
    promised = IMAGES.size * np.dtype(kind).itemsize
    message = f"promises 5 images in {promised} bytes, the file holds {promised - 1}"
    with pytest.raises(ValueError, match=message):
        parse_mnist(*files(typed(IMAGES, kind)[:-1]))


# ----- CIFAR-10 -----

PIXELS = np.random.default_rng(1).integers(0, 256, (4, 3072)).astype(np.uint8)


def cifar_batch(**changes):
    batch = {
        b"batch_label": b"testing batch 1 of 1",
        b"labels": [6, 9, 0, 3],
        b"data": PIXELS,
        b"filenames": [b"a.png", b"b.png", b"c.png", b"d.png"],
    }
    return batch | {key.encode(): value for key, value in changes.items()}


@pytest.fixture
def folder(tmp_path):
    """Writes one object as every batch of a CIFAR-10 folder."""

    def write(content, protocol=2):
        packed = content if isinstance(content, bytes) else pickle.dumps(content, protocol)
        for name in ("test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
            (tmp_path / name).write_bytes(packed)
        return tmp_path

    return write


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_cifar10_images_and_labels(folder, protocol):
    path = folder(cifar_batch(), protocol)
    train, test = CIFAR10Dataset(path, train=True), CIFAR10Dataset(path, train=False)
    assert (len(train), len(test)) == (20, 4)
    image, label = test[1]
    assert (image.shape, image.dtype, label) == ((3, 32, 32), np.float32, 9)
    np.testing.assert_array_equal(image, PIXELS[1].reshape(3, 32, 32).astype(np.float32) / 255)
    images, labels = next(iter(DataLoader(train, 20)))
    assert images.shape == (20, 3, 32, 32)
    np.testing.assert_array_equal(images.data[5], image)
    assert labels.dtype == np.int64
    assert labels.tolist() == [6, 9, 0, 3] * 5


def python2_pickle():
    """What Python 2 and an old numpy wrote: byte strings, numpy.core, protocol 2."""
    raw = PIXELS.tobytes()
    return b"".join(
        [
            b"\x80\x02}(U\x06labels](K\x06K\x09K\x00K\x03eU\x04data",
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R",
            b"(K\x01K\x04M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R",
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
            b"T" + struct.pack("<i", len(raw)) + raw + b"tbu.",
        ]
    )


def test_cifar10s_original_files_of_python_2(folder):
    image, label = CIFAR10Dataset(folder(python2_pickle()), train=False)[3]
    np.testing.assert_array_equal(image, PIXELS[3].reshape(3, 32, 32).astype(np.float32) / 255)
    assert label == 3


def test_cifar10_transforms_see_height_width_and_channels(folder):
    seen = []
    dataset = CIFAR10Dataset(
        folder(cifar_batch()),
        train=False,
        transforms=[lambda x: seen.append(x.shape) or x, RandomCrop(2)],
    )
    assert dataset[0][0].shape == (3, 32, 32)
    assert next(iter(DataLoader(dataset, 2)))[0].shape == (2, 3, 32, 32)
    assert seen == [(32, 32, 3)] * 3


def test_an_array_that_claims_more_than_its_bytes_is_refused(folder):
    lying = python2_pickle().replace(
        b"(K\x01K\x04M\x00\x0c\x86", b"(K\x01J\xff\xff\xff\x7fM\x00\x0c\x86"
    )
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="not a batch of CIFAR-10: cannot reshape"):
            CIFAR10Dataset(folder(lying), train=False)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# ----- CIFAR-100 -----


def cifar100(**changes):
    batch = {
        b"filenames": [b"a.png", b"b.png", b"c.png", b"d.png"],
        b"batch_label": b"testing batch 1 of 1",
        b"fine_labels": [99, 0, 19, 42],
        b"coarse_labels": [13, 4, 19, 0],
        b"data": PIXELS,
    }
    return batch | {key.encode(): value for key, value in changes.items()}


def write_cifar100(folder, content, protocol=2):
    for name in ("train", "test"):
        (folder / name).write_bytes(pickle.dumps(content, protocol))
    return folder


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("train", [True, False])
def test_cifar100_has_fine_and_coarse_labels(tmp_path, protocol, train):
    folder = write_cifar100(tmp_path, cifar100(), protocol)
    dataset = CIFAR100Dataset(folder, train)
    assert dataset.fine_labels.tolist() == dataset.labels.tolist() == [99, 0, 19, 42]
    assert dataset.coarse_labels.tolist() == [13, 4, 19, 0]
    image, label = dataset[3]
    np.testing.assert_array_equal(image, PIXELS[3].reshape(3, 32, 32).astype(np.float32) / 255)
    assert (image.dtype, label, len(dataset)) == (np.float32, 42, 4)
    coarse = CIFAR100Dataset(folder, train, label_mode="coarse")
    images, labels = next(iter(DataLoader(coarse, 4)))
    assert labels.tolist() == [13, 4, 19, 0]
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(images.data[3], image)


def test_cifar100_transforms_see_height_width_and_channels(tmp_path):
    folder = write_cifar100(tmp_path, cifar100())
    dataset = CIFAR100Dataset(folder, train=True, transforms=[lambda x: x[:, ::-1] * 1.0])
    expected = PIXELS[1].reshape(3, 32, 32)[:, :, ::-1].astype(np.float32) / 255
    np.testing.assert_array_equal(dataset[1][0], expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (cifar100(fine_labels=[1, 2, 3, 100]), r"label 3 \(=100\) is no integer of 0 to 99"),
        (cifar100(coarse_labels=[1, 2, 20, 3]), r"label 2 \(=20\) is no integer of 0 to 19"),
        (cifar100(coarse_labels=[1]), "4 images, but 1 labels"),
        (cifar_batch(), "it has no array 'data' and list 'fine_labels' and list 'coarse_labels'"),
    ],
    ids=["fine", "coarse", "count", "CIFAR-10's"],
)
def test_a_file_that_is_not_cifar100s_is_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=f"train: not a batch of CIFAR-100: {message}"):
        CIFAR100Dataset(write_cifar100(tmp_path, content), train=True)


def test_cifar100s_labels_are_fine_or_coarse(tmp_path):
    with pytest.raises(ValueError, match=r"label_mode \(='both'\) must be 'fine' or 'coarse'"):
        CIFAR100Dataset(tmp_path, train=True, label_mode="both")
