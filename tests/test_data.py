"""Datasets, the loader and the transforms."""

import threading

import numpy as np
import pytest

import babygrad
from babygrad import Tensor
from babygrad.data import (
    ArrayDataset,
    DataLoader,
    Dataset,
    RandomCrop,
    RandomFlipHorizontal,
    TensorDataset,
    mnist5k,
)


class OneByOne(Dataset):
    """n samples (i * [1, 1], i), without a way to fetch many at once."""

    def __init__(self, n, transforms=None):
        super().__init__(transforms)
        self.n = n

    def __getitem__(self, index):
        if not 0 <= index < self.n:
            raise IndexError(index)
        return self.apply_transforms(np.full(2, index, np.float32)), int(index)

    def __len__(self):
        return self.n


def arrays(n):
    """The same samples, fetched in one call."""
    column = np.arange(n)
    return ArrayDataset(np.stack([column, column], 1).astype(np.float32), column)


BOTH = pytest.mark.parametrize("make", [OneByOne, arrays])


def flat(lists):
    return [value for values in lists for value in values]


def labels(loader):
    return [batch[1].tolist() for batch in loader]


@pytest.fixture(autouse=True)
def numpys_generator():
    yield
    babygrad.manual_seed(None)


# ----- T25: the loader -----


@BOTH
@pytest.mark.parametrize(
    ("n", "size", "whole", "dropped"),
    [(10, 4, 3, 2), (8, 4, 2, 2), (3, 5, 1, 0), (0, 4, 0, 0), (1, 1, 1, 1)],
)
def test_length_and_every_index_once(make, n, size, whole, dropped):
    loader = DataLoader(make(n), batch_size=size)
    assert len(loader) == len(labels(loader)) == whole
    assert flat(labels(loader)) == list(range(n))
    assert len(DataLoader(make(n), size, drop_last=True)) == dropped
    assert len(labels(DataLoader(make(n), size, drop_last=True))) == dropped
    assert sorted(flat(labels(DataLoader(make(n), size, shuffle=True)))) == list(range(n))


@BOTH
def test_the_last_partial_batch_is_kept_and_input_matches_label(make):
    batches = list(DataLoader(make(10), 4, shuffle=True))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    for x, y in batches:
        assert x.tolist() == [[float(i), float(i)] for i in y.tolist()]


@BOTH
def test_iterators_are_independent(make):
    loader = DataLoader(make(6), 2)
    pairs = [(a.tolist(), b.tolist()) for _, a in loader for _, b in loader]
    assert len(pairs) == 9
    assert pairs[5] == ([2, 3], [4, 5])


def test_leaving_an_epoch_leaves_nothing_running():
    before = threading.active_count()
    for _ in DataLoader(arrays(100), 2):
        break
    assert threading.active_count() == before


@pytest.mark.parametrize("kind", ["uint8", "int32", "int64", "bool", "float32", "float64"])
def test_dtypes_are_kept(device, kind):
    column = np.arange(4).astype(kind)
    dataset = ArrayDataset(np.zeros((4, 2), np.float32), column)
    for source in (dataset, [dataset[i] for i in range(4)]):
        x, y = next(iter(DataLoader(source, 3)))
        assert isinstance(x, Tensor)
        assert (x.dtype, y.dtype) == (np.float32, np.dtype(kind))
        assert x.device == y.device == device
        assert not x.requires_grad


def test_a_label_that_float32_cannot_hold_survives():
    dataset = [(0.5, 16777217), (1.5, 16777216)]
    x, y = next(iter(DataLoader(dataset, 2)))
    assert y.tolist() == [16777217, 16777216]
    assert y.dtype == np.int64
    assert x.dtype == np.float32  # Python floats become what Tensor makes of them


def test_an_error_names_the_sample_and_keeps_its_type_and_traceback():
    def broken(x):
        if x[0] == 5:
            raise KeyError("broken")
        return x

    column = np.arange(8.0)
    for dataset in (
        OneByOne(8, [broken]),
        ArrayDataset(np.stack([column, column], 1), column, transforms=[broken]),
    ):
        with pytest.raises(KeyError) as caught:
            list(DataLoader(dataset, 4))
        assert caught.value.__notes__ == ["This happened while reading sample 5 of the dataset."]
        assert caught.traceback[-1].name == "broken"


def test_a_dataset_that_fetches_batches_is_asked_once_for_a_batch():
    class Recorder(Dataset):
        calls: list = []  # noqa: RUF012 - one test, one class

        def __len__(self):
            return 5

        def __babygrad_batch__(self, indices):
            self.calls.append(indices.tolist())
            return indices

    batches = [batch.tolist() for batch in DataLoader(Recorder(), 2)]
    assert Recorder.calls == batches == [[0, 1], [2, 3], [4]]


def test_samples_may_be_single_values_tensors_or_lists():
    assert next(iter(DataLoader([1, 2, 3], 2))).tolist() == [1, 2]
    (x, y) = next(iter(DataLoader([[Tensor([1.0, 2.0]), 3], [Tensor([4.0, 5.0]), 6]], 2)))
    assert x.tolist() == [[1.0, 2.0], [4.0, 5.0]]
    assert y.tolist() == [3, 6]


def test_loader_refusals():
    with pytest.raises(ValueError, match=r"DataLoader: batch_size \(=0\) must be positive"):
        DataLoader([1], 0)
    with pytest.raises(ValueError, match=r"DataLoader: batch_size \(=2.0\) must be an integer"):
        DataLoader([1], 2.0)
    with pytest.raises(ValueError, match=r"sample 1 has shape \(3,\), sample 0 of the same batch"):
        list(DataLoader([np.zeros(2), np.zeros(3)], 2))
    with pytest.raises(ValueError, match="samples have different numbers of elements"):
        list(DataLoader([(1, 2), (1,)], 2))


def test_a_batch_is_a_copy():
    dataset = arrays(4)
    x, _ = next(iter(DataLoader(dataset, 4)))
    x.data[:] = -1
    assert dataset.arrays[0].min() == 0


# ----- T26: randomness -----


def test_numpys_seed_governs_the_order_as_in_the_book():
    loader = DataLoader(arrays(20), 20, shuffle=True)
    np.random.seed(3)
    ours = labels(loader)[0]
    np.random.seed(3)
    order = np.arange(20)
    np.random.shuffle(order)
    assert ours == order.tolist()


def test_manual_seed_governs_it_and_leaves_numpys_state_alone():
    loader = DataLoader(arrays(20), 20, shuffle=True)
    babygrad.manual_seed(3)
    state = np.random.get_state()[1].tolist()
    first, second = labels(loader), labels(loader)
    assert first != second  # epochs differ
    babygrad.manual_seed(3)
    assert [labels(loader), labels(loader)] == [first, second]
    assert np.random.get_state()[1].tolist() == state


def test_a_generator_of_ones_own_can_be_saved_and_resumed():
    def loader(generator):
        return DataLoader(arrays(20), 6, shuffle=True, generator=generator)

    generator = np.random.default_rng(1)
    through = loader(generator)
    labels(through)
    saved = generator.bit_generator.state
    expected = labels(through)
    resumed = np.random.default_rng()
    resumed.bit_generator.state = saved
    assert labels(loader(resumed)) == expected


def test_an_epochs_order_is_drawn_when_it_begins():
    generator = np.random.default_rng(1)
    loader = DataLoader(arrays(20), 5, shuffle=True, generator=generator)
    nested = [iter(loader), iter(loader)]
    in_turn = [[next(it)[1].tolist() for it in nested] for _ in range(4)]
    loader.generator = np.random.default_rng(1)
    assert [a for a, _ in in_turn] == labels(loader)
    assert [b for _, b in in_turn] == labels(loader)


def test_transforms_draw_from_the_same_source():
    images = np.arange(4 * 6 * 6, dtype=np.float32).reshape(4, 6, 6, 1)
    transforms = [RandomFlipHorizontal(), RandomCrop(2)]
    loader = DataLoader(ArrayDataset(images, transforms=transforms), 4)
    for seed in (babygrad.manual_seed, lambda s: (babygrad.manual_seed(None), np.random.seed(s))):
        seed(5)
        first = [batch[0].data for batch in (next(iter(loader)), next(iter(loader)))]
        seed(5)
        again = [batch[0].data for batch in (next(iter(loader)), next(iter(loader)))]
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first[0], first[1])


# ----- T27: accumulation -----


def test_batches_of_4_4_2_weighted_by_size_equal_the_batch_of_10(device):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(10, 1))
    w = Tensor(rng.normal(size=(3, 1)), dtype=None, requires_grad=True)

    def mean_loss(inputs, targets):
        error = (inputs * w.reshape((1, 3))).sum(axes=(1,)).reshape((-1, 1)) - targets
        return (error * error).sum() / len(targets)

    mean_loss(Tensor(x, dtype=None), Tensor(y, dtype=None)).backward()
    whole, w.grad = w.grad, None
    for inputs, targets in DataLoader(ArrayDataset(x, y), 4):
        (mean_loss(inputs, targets) * (len(targets) / 10)).backward()
    np.testing.assert_allclose(w.grad, whole, rtol=1e-12)


# ----- Datasets -----


def test_dataset_applies_transforms_in_order():
    dataset = Dataset(transforms=[lambda x: x + 1, lambda x: x * 10])
    assert dataset.apply_transforms(1) == 20
    assert Dataset().apply_transforms(1) == 1
    with pytest.raises(NotImplementedError, match=r"Dataset must define __getitem__\(index\)"):
        dataset[0]
    with pytest.raises(NotImplementedError, match=r"Dataset must define __len__\(\)"):
        len(dataset)


def test_array_dataset_shares_arrays_and_takes_lists_and_tensors():
    x = np.zeros((3, 2))
    dataset = TensorDataset(x, Tensor([1.0, 2.0, 3.0]), [7, 8, 9], [0.5, 1.5, 2.5])
    assert dataset.arrays[0] is x
    assert [a.dtype.name for a in dataset.arrays] == ["float64", "float32", "int64", "float32"]
    assert len(dataset) == 3
    assert [sample[2] for sample in (dataset[0], dataset[-1])] == [7, 9]
    assert [sample[2] for sample in dataset] == [7, 8, 9]


def test_array_dataset_transforms_the_first_array_and_leaves_it_as_it_is():
    def spoil(x):
        x += 100
        return x

    dataset = ArrayDataset(np.arange(4.0).reshape(4, 1), np.arange(4), transforms=[spoil])
    x, y = next(iter(DataLoader(dataset, 4)))
    assert x.tolist() == [[100.0], [101.0], [102.0], [103.0]]
    assert y.tolist() == [0, 1, 2, 3]
    assert dataset.arrays[0].ravel().tolist() == [0.0, 1.0, 2.0, 3.0]


def test_array_dataset_refusals():
    with pytest.raises(ValueError, match=r"ArrayDataset: the arrays differ in length: \[3, 2\]"):
        ArrayDataset(np.zeros(3), np.zeros(2))
    for nothing in ((), (1.0,)):
        with pytest.raises(ValueError, match="TensorDataset: give one or more arrays"):
            TensorDataset(*nothing)


# ----- Transforms -----


def test_random_flip_horizontal():
    image = np.arange(2 * 3 * 1).reshape(2, 3, 1)
    assert RandomFlipHorizontal(p=1.0)(image)[..., 0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert RandomFlipHorizontal(p=0.0)(image) is image
    flip = RandomFlipHorizontal(p=0.25, generator=np.random.default_rng(0))
    flipped = sum(flip(image)[0, 0, 0] == 2 for _ in range(4000))
    assert abs(flipped - 1000) < 5 * np.sqrt(4000 * 0.25 * 0.75)  # five standard deviations


def test_random_crop_shifts_by_at_most_the_padding_each_equally_often():
    image = np.zeros((5, 6, 2), np.float32)
    image[2, 3] = [1, 2]
    crop = RandomCrop(padding=1, generator=np.random.default_rng(0))
    found = np.zeros((5, 6), int)
    for _ in range(1800):
        out = crop(image)
        assert out.shape == image.shape
        assert out.dtype == image.dtype
        found += out[..., 0] == 1
        assert out[..., 1].sum() == 2
    assert found[1:4, 2:5].sum() == 1800
    # Nine equal cells of 200 expected; five standard deviations of a binomial count.
    assert np.all(abs(found[1:4, 2:5] - 200) < 5 * np.sqrt(1800 / 9 * 8 / 9))
    np.testing.assert_array_equal(RandomCrop(0)(image), image)


def test_transform_refusals():
    with pytest.raises(ValueError, match=r"RandomFlipHorizontal: p \(=1.5\) must be between"):
        RandomFlipHorizontal(1.5)
    with pytest.raises(ValueError, match=r"RandomCrop: padding \(=-1\) must be a non-negative"):
        RandomCrop(-1)
    with pytest.raises(ValueError, match=r"RandomCrop: the image has shape \(2, 2\)"):
        RandomCrop(1)(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"RandomFlipHorizontal: the image has shape \(4,\)"):
        RandomFlipHorizontal()(np.zeros(4))


# ----- The digits that ship -----


def test_mnist5k_is_4000_and_1000_digits_500_of_each_class():
    train, test = mnist5k()
    assert (len(train), len(test)) == (4000, 1000)
    counts = np.bincount(train.labels, minlength=10) + np.bincount(test.labels, minlength=10)
    assert counts.tolist() == [500] * 10
    image, label = train[0]
    assert (image.shape, image.dtype, label.shape) == ((28, 28, 1), np.float32, ())
    assert (image.min(), image.max()) == (0.0, 1.0)


def test_mnist5k_transforms_are_for_training_alone():
    train, test = mnist5k([lambda image: image * 0])
    assert next(iter(DataLoader(train, 8)))[0].data.max() == 0
    assert next(iter(DataLoader(test, 8)))[0].data.max() > 0
