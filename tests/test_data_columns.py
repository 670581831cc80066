"""A loader's columns have one dtype, and what is no number is named with its place."""

import pickle
import re

import numpy as np
import pytest

import babygrad
from babygrad import Tensor
from babygrad.data import ArrayDataset, DataLoader, Dataset, RandomCrop, RandomFlipHorizontal


class Indexed(Dataset):
    """Samples of a list, of which the loader sees one at a time."""

    def __init__(self, samples):
        super().__init__()
        self.samples = samples

    def __getitem__(self, index):
        return self.samples[index]

    def __len__(self):
        return len(self.samples)


def columns(loader):
    """Every batch as a list of (dtype, values)."""
    batches = [batch if isinstance(batch, tuple) else (batch,) for batch in loader]
    return [[(column.dtype.name, column.tolist()) for column in batch] for batch in batches]


# ----- One dtype for a column -----

ARRAY = np.arange(2, dtype=np.int64)
MIXED = {
    "an int and floats": ([1, 2.5, 3.5, 4], ["float32"]),
    "floats in the last batch": ([1, 2, 2.5], ["float32"]),
    "ints": ([1, 2, 3], ["int64"]),
    "a label that float32 cannot hold": ([16777217, 1, 2], ["int64"]),
    "bools": ([True, False, True], ["bool"]),
    "bools and ints": ([True, False, 2], ["int64"]),
    "bools and floats": ([True, False, 0.5], ["float32"]),
    "pairs": ([(1, 0), (2, 1), (2.5, 0)], ["float32", "int64"]),
    "lists of pairs": ([[1, 0.5], [2, 1], [3, 0]], ["int64", "float32"]),
    "a tuple of pairs": (((1, 0), (2, 1), (2.5, 0)), ["float32", "int64"]),
    "lists inside": ([([1, 2], 0), ([3, 4], 1), ([2.5, 1], 1)], ["float32", "int64"]),
    "arrays and lists": ([(ARRAY, 1), (ARRAY, 2), ([0.5, 1], 3)], ["float32", "int64"]),
    "numpy's float64 among ints": ([1, 2, np.float64(0.1)], ["float64"]),
    "numpy's float64 among floats": ([0.5, np.float64(0.1), 1], ["float64"]),
    "float16": ([np.float16(1), np.float16(2), np.float16(3)], ["float16"]),
    "int32": ([np.int32(1), np.int32(2), np.int32(3)], ["int32"]),
    "int32 and int64": ([np.int32(1), np.int32(2), 3], ["int64"]),
    "Tensors": ([Tensor([1.0]), Tensor([2.0]), Tensor([3], dtype="int64")], ["float32"]),
}


@pytest.mark.parametrize("case", MIXED)
def test_a_list_has_one_dtype_in_all_batches(device, case):
    samples, expected = MIXED[case]
    rows = [sample if isinstance(sample, tuple | list) else (sample,) for sample in samples]
    for shuffle in (False, True):
        for size in (1, 2, 3):
            batches = columns(DataLoader(samples, size, shuffle))
            for batch in batches:
                assert [dtype for dtype, _ in batch] == expected
            for k, dtype in enumerate(expected):
                values = [value for batch in batches for value in batch[k][1]]
                wanted = [np.asarray(row[k] if not isinstance(row[k], Tensor) else row[k].data)
                          .astype(dtype).tolist() for row in rows]  # fmt: skip
                assert sorted(values) == sorted(wanted)


def test_a_batch_of_another_dataset_follows_the_promotion_table(device):
    assert columns(DataLoader(Indexed([1, 2.5, 3.5, 4]), 4)) == [[("float32", [1, 2.5, 3.5, 4])]]
    dataset = Indexed([(2.5, 1), (1, 2), (3, 3)])
    floats, ints = columns(DataLoader(dataset, 2))
    assert floats == [("float32", [2.5, 1]), ("int64", [1, 2])]
    assert ints == [("float32", [3]), ("int64", [3])]  # as the first batch


def test_a_batch_that_the_dtype_of_the_first_cannot_hold_is_refused(device):
    loader = DataLoader(Indexed([(0, 1), (0, 2), (0, 2.5)]), 2)
    message = (
        "DataLoader: column 1 of the Indexed is float32 in the batch of sample 2, and was int64 in "
        "the batches before; a column must have one dtype"
    )
    for _ in range(2):  # each epoch anew
        with pytest.raises(TypeError, match=message):
            list(loader)


LARGE = 2**63 + 5


def test_integers_too_large_for_int64_are_uint64_in_all_batches(device):
    for samples in ([2**53 + 1, LARGE], [1, 2, LARGE, 3], [True, LARGE, 0], [LARGE, 2**64 - 1]):
        for size in (1, 2, 4):
            batches = columns(DataLoader(samples, size))
            assert {dtype for ((dtype, _),) in batches} == {"uint64"}
            assert [n for ((_, values),) in batches for n in values] == samples
    pairs = [(0.5, 2**53 + 1), (1, LARGE)]
    assert columns(DataLoader(pairs, 2)) == [
        [("float32", [0.5, 1]), ("uint64", [2**53 + 1, LARGE])]
    ]
    rows = [[([2**53 + 1, LARGE])], [([LARGE, 1])]]
    assert columns(DataLoader(rows, 2)) == [[("uint64", [rows[0][0], rows[1][0]])]]
    whole = ArrayDataset([2**53 + 1, LARGE], [[LARGE, 0], [1, 2]])
    assert columns(DataLoader(whole, 2)) == [
        [("uint64", [2**53 + 1, LARGE]), ("uint64", [[LARGE, 0], [1, 2]])]
    ]
    assert columns(DataLoader([0.5, LARGE], 2)) == [[("float32", [0.5, 2.0**63])]]


@pytest.mark.parametrize(
    "samples",
    [
        [-1, LARGE],
        [LARGE, LARGE, -1],
        [-1, np.uint64(LARGE)],
        [np.int64(3), np.uint64(LARGE)],
        [np.array([-1, 0]), np.array([0, LARGE], np.uint64)],
    ],
)
def test_integers_that_no_type_has_are_refused_with_the_sample(device, samples):
    place = next(i for i, sample in enumerate(samples) if np.max(sample) == LARGE)
    number = f"the number {LARGE} does not fit int64"
    for dataset, name in ((samples, "list"), (Indexed(samples), "Indexed")):
        with pytest.raises(
            ValueError, match=f"^DataLoader: sample {place} of the {name}: {number}"
        ):
            list(DataLoader(dataset, len(samples)))
        pairs = type(dataset)([(0, sample) for sample in samples])
        message = f"^DataLoader: sample {place} of the {name}, column 1: {number}"
        with pytest.raises(ValueError, match=message):
            list(DataLoader(pairs, len(samples)))
    with pytest.raises(TypeError, match=r"^ArrayDataset: array 0: no integer type has all of i"):
        ArrayDataset([-1, LARGE])


def test_a_later_batch_that_is_too_large_for_int64_is_refused(device):
    loader = DataLoader(Indexed([1, -2, LARGE, LARGE + 1]), 2)
    message = (
        f"^DataLoader: column 0 of the Indexed in the batch of sample 2: the number {LARGE + 1}"
    )
    with pytest.raises(ValueError, match=message):
        list(loader)


def test_columns_of_other_byte_orders_and_alignments_are_read(device):
    packed = np.zeros(4, np.dtype([("pad", "u1"), ("value", "<f4")], align=False))
    packed["value"] = [1, 2, 3, 4]
    swapped = np.arange(4).astype(">i4")
    x, y = next(iter(DataLoader(ArrayDataset(packed["value"], swapped), 3)))
    assert (x.dtype.name, x.tolist()) == ("float32", [1, 2, 3])
    assert (y.dtype.name, y.tolist(), y.dtype.isnative) == ("int32", [0, 1, 2], True)
    assert (y + 1).tolist() == [1, 2, 3]


def test_a_batch_knows_its_samples():
    for dataset in (ArrayDataset(np.arange(5), np.arange(5)), [(i, i) for i in range(5)]):
        for batch in DataLoader(dataset, 2, shuffle=True):
            assert batch.indices.tolist() == batch[0].tolist()
            x, y = pickle.loads(pickle.dumps([column.tolist() for column in batch]))
            assert x == y


# ----- What is no number -----


class Lines:
    def __repr__(self):
        return "<two\nlines>"


NO_NUMBERS = {
    "text": ("cat", "data of type str is not an array of numbers"),
    "bytes": (b"cat", "data of type bytes is not"),
    "None": (None, "data of type NoneType is not an array of numbers; put nan where a number is m"),
    "dict": ({"x": 1}, "data of type dict is not"),
    "complex": (1 + 2j, "data of type complex is not an array of numbers; take its real and its"),
    "date": (np.datetime64("2020-01-01"), "data of type datetime64 is not"),
    "text array": (np.array(["1", "2"]), "data of type <U1 is not"),
    "objects": (np.array([None, 1], object), "data of type object is not"),
    "long double": (np.longdouble(1), "dtype .* is not supported; use bool"),
    "an object": (object(), "data of type object is not"),
    "an object of two lines": (Lines(), "data of type Lines is not"),
    "a ragged list": ([[1, 2], [3]], "data of type list is not an array of numbers; its rows"),
}


@pytest.mark.parametrize("case", NO_NUMBERS)
def test_what_is_no_number_is_named_with_sample_and_column(device, case):
    value, reason = NO_NUMBERS[case]
    for dataset, name in (([(1, 2), (1, value)], "list"), (((1, 2), (1, value)), "tuple"),
                          (Indexed([(1, 2), (1, value)]), "Indexed")):  # fmt: skip
        message = f"^DataLoader: sample 1 of the {name}, column 1: {reason}"
        with pytest.raises(TypeError, match=message) as caught:
            list(DataLoader(dataset, 2))
        assert "\n" not in str(caught.value)
    if not isinstance(value, list):
        with pytest.raises(TypeError, match=f"^DataLoader: sample 1 of the list: {reason}"):
            list(DataLoader([0, value], 2))


@pytest.mark.parametrize("case", NO_NUMBERS)
def test_an_array_dataset_names_the_array_that_holds_no_numbers(case):
    value, _ = NO_NUMBERS[case]
    with pytest.raises(TypeError, match=r"^ArrayDataset: array 1: (data of|dtype) .* is not"):
        ArrayDataset(np.zeros(2), value if isinstance(value, np.ndarray) else [value, value])


def test_a_fetched_batch_names_the_column_that_holds_no_numbers(device):
    class Fetched(Dataset):
        def __len__(self):
            return 4

        def __babygrad_batch__(self, indices):
            return np.zeros(len(indices)), ["a"] * len(indices)

    with pytest.raises(TypeError, match="DataLoader: column 1 of a batch of the Fetched: data of"):
        list(DataLoader(Fetched(), 2))


def test_a_list_is_looked_through_before_its_first_batch():
    it = iter(DataLoader([1, 2, 3, None], 1))
    with pytest.raises(TypeError, match="sample 3 of the list: data of type NoneType is not"):
        next(it)


DATASETS = {
    "None": (None, "None"),
    "text": ("abc", r"a str \(='abc'\)"),
    "dict": ({"x": [1, 2]}, r"a dict with the keys \['x'\]"),
    "set": ({1, 2}, "a set "),
    "generator": ((i for i in range(3)), "a generator "),
    "number": (5, r"an int \(=5\)"),
    "class": (ArrayDataset, "a type .*ArrayDataset"),
    "array without axes": (np.array(5), r"a ndarray of shape \(\) and dtype int64"),
    "Tensor without axes": (Tensor(5.0), r"a Tensor of shape \(\) and dtype float32"),
    "numpy's number": (np.float32(5), "a float32 "),
}


@pytest.mark.parametrize("case", DATASETS)
def test_what_is_no_dataset_is_refused_at_once(case):
    dataset, shown = DATASETS[case]
    with pytest.raises(TypeError, match=f"^DataLoader: the dataset is {shown}.*; it must be a Dat"):
        DataLoader(dataset)


def test_a_dict_whose_keys_are_indices_is_a_dataset():
    assert columns(DataLoader({0: 1.5, 1: 2.5})) == [[("float32", [1.5])], [("float32", [2.5])]]


def test_samples_of_different_lengths_are_named():
    for sample, shown in (((1,), "a tuple of 1 elements"), (None, "None")):
        with pytest.raises(ValueError, match=f"sample 0 .* a tuple of 2 .*sample 1 is {shown}"):
            list(DataLoader([(1, 2), sample], 2))
    with pytest.raises(ValueError, match=r"sample 0 of the list is an int .*sample 1 is a list of"):
        list(DataLoader([1, [2]], 2))


# ----- A dataset's own methods -----


def test_a_method_get_batch_of_another_meaning_is_not_called(device):
    class Text(Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return float(index), index

        def get_batch(self, split):
            raise AssertionError(f"called with {split!r}")

    assert columns(DataLoader(Text(), 3)) == [[("float32", [0, 1, 2]), ("int64", [0, 1, 2])]]


def test_a_subclass_that_redefines_a_sample_is_asked_for_each(device):
    class Doubled(ArrayDataset):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return x * 2, y

    class DoubledAtOnce(Doubled):
        def __babygrad_batch__(self, indices):
            return self.arrays[0][indices] * 3, self.arrays[1][indices]

    x, y = np.arange(4, dtype=np.float32), np.arange(4)
    assert columns(DataLoader(Doubled(x, y), 4))[0][0][1] == [0, 2, 4, 6]
    assert columns(DataLoader(DoubledAtOnce(x, y), 4))[0][0][1] == [0, 3, 6, 9]


def test_a_subclass_that_redefines_the_transforms_is_asked_for_them(device):
    class Negated(ArrayDataset):
        def apply_transforms(self, x):
            return -x

    dataset = Negated(np.arange(3, dtype=np.float32))
    assert columns(DataLoader(dataset, 3))[0][0][1] == [0, -1, -2]


def test_a_proxy_that_passes_on_attributes_is_asked_for_its_own_samples(device):
    class Part:
        """The even samples of a dataset, and all of its attributes."""

        def __init__(self, whole):
            self.whole = whole

        def __len__(self):
            return len(self.whole) // 2

        def __getitem__(self, index):
            return self.whole[2 * index]

        def __getattr__(self, name):
            return getattr(self.whole, name)

    part = Part(ArrayDataset(np.arange(6), np.arange(6)))
    assert columns(DataLoader(part, 3)) == [[("int64", [0, 2, 4]), ("int64", [0, 2, 4])]]


# ----- Settings -----


@pytest.mark.parametrize("bad", [0, 1, True, "seed", np.random.RandomState(0), np.random])
def test_a_generator_is_a_generator_or_none(device, bad):
    makers = {
        "DataLoader": lambda: DataLoader([1, 2], generator=bad),
        "RandomFlipHorizontal": lambda: RandomFlipHorizontal(generator=bad),
        "RandomCrop": lambda: RandomCrop(generator=bad),
        "random": lambda: Tensor.rand(2, generator=bad),
    }
    for name, make in makers.items():
        with pytest.raises(TypeError, match=rf"^{name}: generator \(=.*\) must be a babygrad.rand"):
            make()
    state = np.random.get_state()[1].tolist()
    with pytest.raises(TypeError):
        Tensor.randn(2, generator=bad)
    assert np.random.get_state()[1].tolist() == state


def test_the_generators_class_is_where_the_message_says():
    assert isinstance(np.random.default_rng(0), babygrad.random.Generator)
    with pytest.raises(AttributeError, match=r"'babygrad.random' has no attribute 'Generators'"):
        _ = babygrad.random.Generators


@pytest.mark.parametrize("bad", ["no", None, 2, 0.0, [True]])
@pytest.mark.parametrize("name", ["shuffle", "drop_last"])
def test_switches_are_true_or_false(name, bad):
    message = rf"^DataLoader: {name} \(={re.escape(repr(bad))}\) must be True or False"
    with pytest.raises(ValueError, match=message):
        DataLoader([1, 2], **{name: bad})
    assert len(DataLoader([1, 2], **{name: np.bool_(True)})) == 2


@pytest.mark.parametrize("bad", [True, 0, -1, 2.0, "2", None])
def test_the_size_of_a_batch_is_a_positive_integer(bad):
    with pytest.raises(ValueError, match=rf"^DataLoader: batch_size \(={re.escape(repr(bad))}\)"):
        DataLoader([1, 2], bad)
