"""The optimizers' base class: gradients as they come, parameter groups, refusals."""

import math

import numpy as np
import pytest

from babygrad import Tensor, nn
from babygrad.data import ArrayDataset, DataLoader
from babygrad.optim import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    LinearWarmup,
    Lion,
    Muon,
    Optimizer,
    ReduceLROnPlateau,
    RMSprop,
    clip_grad_norm,
    clip_grad_value,
)
from babygrad.trainer import Trainer

ALL = (SGD, Adam, AdamW, RMSprop, Adagrad, Lion, Muon)


def test_parameters_without_a_gradient_are_skipped(device):
    p, q = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    q.grad = np.array([1.0], np.float32)
    for optimizer in (SGD([p, q], momentum=0.5), Adam([p, q]), Lion([p, q])):
        optimizer.step()
        assert p.data[0] == 1.0
        assert not any(p in getattr(optimizer, name) for name in optimizer.states)


def test_zero_grad_sets_none():
    p = Tensor([1.0], requires_grad=True)
    p.grad = [1.0]
    SGD([p]).zero_grad()
    assert p.grad is None


@pytest.mark.parametrize("dtype", ["float16", "float64", "int64", ">f4"])
def test_a_gradient_of_another_dtype_works(device, dtype):
    for cls in (SGD, Adam, RMSprop):
        p = Tensor([1.0, 2.0], requires_grad=True)
        twin = Tensor([1.0, 2.0], requires_grad=True)
        p.grad = np.array([1, -2]).astype(dtype)
        twin.grad = np.array([1, -2], np.float32)
        cls([p]).step()
        cls([twin]).step()
        assert p.dtype == np.float32
        assert p.tolist() == twin.tolist()


def test_a_step_writes_into_the_parameters_own_array_and_notes_it(device):
    p = Tensor([1.0, 2.0], requires_grad=True)
    array = p.data
    y = (p * p).sum()
    p.grad = np.array([1.0, 1.0], np.float32)
    SGD([p], lr=0.5).step()
    assert p.data is array
    assert array.tolist() == [0.5, 1.5]
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()


@pytest.mark.usefixtures("numba")
def test_parameters_on_two_devices_in_one_group():
    p = Tensor([1.0], device="cpu:numpy", requires_grad=True)
    q = Tensor([1.0], device="cpu:numba", requires_grad=True)
    for w in (p, q):
        w.grad = np.array([1.0], np.float32)
    Adam([p, q], lr=0.5).step()
    assert p.tolist() == pytest.approx([0.5])
    assert q.tolist() == pytest.approx([0.5])


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1,), (67,)])
def test_any_shape(device, shape):
    for cls in (SGD, Adam, AdamW, RMSprop, Adagrad, Lion):
        p = Tensor(np.ones(shape), requires_grad=True)
        p.grad = np.ones(shape, np.float32)
        cls([p], lr=0.5).step()
        assert p.shape == shape
        assert np.all(p.data < 1)


def test_groups_have_their_own_settings():
    p, q = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    optimizer = SGD([{"params": [p]}, {"params": [q], "lr": 0.25}], lr=0.5)
    for w in (p, q):
        w.grad = np.array([1.0], np.float32)
    optimizer.step()
    assert (p.item(), q.item()) == (0.5, 0.75)
    assert optimizer.lr == 0.5
    optimizer.lr = 0.125
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]
    assert optimizer.params[0] is p
    assert optimizer.params[1] is q
    assert repr(optimizer).startswith("SGD(1 parameters, lr=0.125, momentum=0.0")


def test_a_group_can_be_added_later():
    p, q = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    optimizer = Adam([p], lr=0.5)
    optimizer.add_param_group({"params": q, "lr": 0.25})
    q.grad = np.array([1.0], np.float32)
    optimizer.step()
    assert q.item() == pytest.approx(0.75)


def test_the_books_own_subclass_works():
    class Plain(Optimizer):
        def __init__(self, params, lr=0.01):
            super().__init__(params)
            self.lr = lr

        def step(self):
            for param in self.params:
                if param.grad is not None:
                    param.data -= self.lr * param.grad

    p = Tensor([1.0], requires_grad=True)
    optimizer = Plain([p], lr=0.5)
    (p * p).sum().backward()
    optimizer.step()
    assert p.item() == 0.0
    assert optimizer.param_groups[0]["lr"] == 0.5
    with pytest.raises(AttributeError, match="Optimizer has no lr"):
        Optimizer([p]).lr  # noqa: B018 - reading it is the test
    p.grad = [1.0]
    with pytest.raises(NotImplementedError, match=r"Optimizer must define update\(\) or step\(\)"):
        Optimizer([p]).step()


def leaf():
    return Tensor([1.0], requires_grad=True)


REFUSALS = {
    "used up": (lambda: SGD(iter([])), ValueError, "SGD: params is a list_iterator that yields no"),
    "used-up group": (
        lambda: Adam([{"params": [leaf()]}, {"params": (p for p in ())}]),
        ValueError,
        "Adam: params is a generator that yields nothing, perhaps because it was read before",
    ),
    "no iterable": (lambda: SGD(None), TypeError, "SGD: params is a NoneType; give a list of par"),
    "no list in a group": (lambda: SGD([{"params": 3}]), TypeError, "SGD: params is a int; give"),
    "no params": (lambda: SGD([{"lr": 0.1}]), TypeError, "group 0 must be a dict with a list"),
    "no group": (lambda: SGD([leaf()]).add_param_group([leaf()]), TypeError, "group 1 must be a"),
    "integers": (
        lambda: SGD([Tensor([1, 2], dtype="int64")]),
        TypeError,
        r"SGD: parameter 0, of shape \(2,\), has dtype int64; only floating-point tensors can",
    ),
    "no number": (lambda: SGD([leaf()], lr=None), ValueError, r"SGD: lr \(=None\) must be at lea"),
    "complex": (lambda: Adam([leaf()], eps=1j), ValueError, r"Adam: eps \(=1j\) must be at least"),
    "text": (lambda: SGD([leaf()], lr="0.1"), ValueError, r"SGD: lr \(='0.1'\) must be at least 0"),
    "switch": (
        lambda: SGD([leaf()], momentum=0.9, nesterov="no"),
        ValueError,
        r"SGD: nesterov \(='no'\) must be True or False",
    ),
    "rounds": (
        lambda: Muon([{"params": [leaf()], "adamw": True}], rounds=2.5),
        ValueError,
        r"Muon: rounds \(=2.5\) must be an integer from 0 on",
    ),
    "one tensor": (lambda: SGD(leaf()), TypeError, "SGD: params is a Tensor; give a list"),
    "one group": (lambda: Adam({"params": [leaf()]}), TypeError, "Adam: params is a dict"),
    "array": (lambda: SGD([np.ones(2)]), TypeError, "parameter 0 is a ndarray, not a Tensor"),
    "no leaf": (lambda: SGD([leaf() * 2]), ValueError, r"of shape \(1,\), is the result of an op"),
    "mixed": (lambda: SGD([{"params": [leaf()]}, leaf()]), TypeError, "group 1 must be a dict"),
    "unknown": (
        lambda: SGD([{"params": [leaf()], "beta1": 0.5}]),
        ValueError,
        "SGD: a group sets beta1; it may set lr, momentum, nesterov, weight_decay",
    ),
    "lr": (lambda: SGD([leaf()], lr=-1), ValueError, r"SGD: lr \(=-1\) must be at least 0"),
    "nan": (lambda: SGD([leaf()], lr=math.nan), ValueError, r"lr \(=nan\) must be at least 0"),
    "beta": (lambda: Adam([leaf()], beta1=1.0), ValueError, r"beta1 \(=1.0\) .* below 1"),
    "betas": (lambda: Adam([leaf()], betas=(0.9, 0.99)), TypeError, "betas"),
    "nesterov": (
        lambda: SGD([leaf()], nesterov=True),
        ValueError,
        "SGD: nesterov needs momentum above 0",
    ),
    "muon": (
        lambda: Muon([leaf()]),
        ValueError,
        r'Muon: parameter 0 has shape \(1,\), which is no matrix; put it in a group with "adamw"',
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(case):
    make_optimizer, error, message = REFUSALS[case]
    with pytest.raises(error, match=message):
        make_optimizer()


def test_hyperparameters_of_other_number_types_become_floats():
    optimizer = SGD([leaf()], lr=np.float32(0.5), momentum=0)
    assert type(optimizer.lr) is type(optimizer.momentum) is float
    optimizer.lr = 1
    assert type(optimizer.lr) is float


def test_an_attribute_out_of_range_is_refused():
    optimizer = SGD([leaf()])
    with pytest.raises(ValueError, match=r"SGD: lr \(=-0.5\) must be at least 0"):
        optimizer.lr = -0.5
    assert optimizer.lr == 0.01


# ----- Nothing to optimize -----


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("nothing", [[], (), {}.values(), [{"params": []}], [{"params": ()}]])
def test_a_list_without_parameters_is_taken_with_a_warning_at_the_callers_line(cls, nothing):
    with pytest.warns(UserWarning, match="nothing to optimize") as caught:
        optimizer = cls(nothing)
    (warning,) = caught
    assert str(warning.message) == f"{cls.__name__}: params is empty, there is nothing to optimize"
    assert warning.filename == __file__
    assert optimizer.params == []


def test_the_warning_is_at_the_line_that_makes_a_subclass():
    class Mine(SGD):
        def __init__(self, params):
            super().__init__(params, lr=0.5)

    class Owner:
        def __init__(self):
            self.optimizer = Mine([])

    with pytest.warns(UserWarning, match="Mine: params is empty") as caught:
        Owner()
    assert caught[0].lineno == Owner.__init__.__code__.co_firstlineno + 1


@pytest.mark.parametrize("cls", ALL)
def test_an_optimizer_without_parameters_does_all_that_others_do(device, cls):
    model = nn.Sequential(nn.Dropout(0.5))
    with pytest.warns(UserWarning, match="nothing to optimize"):
        optimizer = cls(model.parameters(), lr=0.5)
    optimizer.zero_grad()
    optimizer.step()
    assert (optimizer.t, optimizer.lr) == (1, 0.5)
    optimizer.load_state_dict(optimizer.state_dict())
    schedule = LinearWarmup(optimizer, 2)
    plateau = ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    assert optimizer.lr == 0.25
    schedule.step()
    plateau.step(math.nan)
    assert optimizer.lr == 0.25
    assert clip_grad_norm(optimizer.params, 1.0) == 0.0
    clip_grad_value(optimizer.params, 1.0)
    assert repr(optimizer).startswith(f"{cls.__name__}(0 parameters, lr=0.25")
    dataset = ArrayDataset(np.eye(4, dtype="float32"), [0, 1, 2, 3])
    loader = DataLoader(dataset, batch_size=2)
    history = Trainer(model, optimizer, nn.SoftmaxLoss(), loader, loader).fit(1, quiet=True)
    assert history["val_accuracy"] == [1.0]


def test_parameters_can_come_to_an_empty_optimizer(device):
    with pytest.warns(UserWarning, match="nothing to optimize"):
        optimizer = SGD([], lr=0.5)
    p = leaf()
    optimizer.add_param_group({"params": iter([p])})
    p.grad = np.ones(1, np.float32)
    optimizer.step()
    assert p.item() == 0.5


def test_a_group_without_parameters_beside_others_says_nothing():
    optimizer = Muon([{"params": [Tensor.ones(2, 2)]}, {"params": [], "adamw": True}])
    assert len(optimizer.params) == 1


# ----- Read-only arrays -----


def read_only(values):
    array = np.array(values, np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("cls", ALL)
def test_a_read_only_gradient_works(device, cls):
    p, twin = (Tensor(np.ones((2, 2)), requires_grad=True) for _ in range(2))
    p.grad = read_only([[1, 2], [3, 4]])
    twin.grad = p.grad.copy()
    for w in (p, twin):
        cls([w], lr=0.5).step()
    assert p.tolist() == twin.tolist()
    assert p.grad.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("cls", ALL)
def test_a_read_only_parameter_is_named_before_anything_changes(device, cls):
    p, q, fixed = (Tensor(np.ones((2, 2)), requires_grad=True) for _ in range(3))
    fixed.data = read_only([[1, 1], [1, 1]])
    optimizer = cls([{"params": [p]}, {"params": [q, fixed]}], lr=0.5)
    for w in (p, q, fixed):
        w.grad = np.ones((2, 2), np.float32)
    with pytest.raises(ValueError, match=rf"{cls.__name__}: parameter 2, of shape \(2, 2\), is re"):
        optimizer.step()
    assert optimizer.t == 0
    assert not any(getattr(optimizer, name) for name in optimizer.states)
    for w in (p, q, fixed):
        assert w.tolist() == [[1, 1], [1, 1]]
    fixed.data = fixed.numpy()  # as the message says
    optimizer.step()
    assert np.all(fixed.data < 1)


def test_a_read_only_parameter_without_a_gradient_is_left_alone(device):
    p, fixed = leaf(), leaf()
    fixed.data = read_only([1])
    p.grad = np.ones(1, np.float32)
    SGD([p, fixed], lr=0.5).step()
    assert (p.item(), fixed.item()) == (0.5, 1.0)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float16", "float32", "float64"])
def test_backward_adds_to_a_gradient_that_was_assigned(device, twins, dtype):
    for writeable in (True, False):
        for shape in ((), (2,)):
            p = Tensor(np.full(shape, 0.5), requires_grad=True)
            assigned = np.full(shape, 2, dtype)
            assigned.flags.writeable = writeable
            p.grad = assigned
            (p * 1.25).sum().backward()
            np.testing.assert_array_equal(p.grad, np.full(shape, 3.25))
            assert p.grad.dtype == np.float32
            assert isinstance(p.grad, np.ndarray)
            if not writeable:
                np.testing.assert_array_equal(assigned, np.full(shape, 2))


def test_backward_adds_in_place_to_a_gradient_of_its_own_kind(twins):
    p = leaf()
    p.grad = held = np.array([2], np.float32)
    (p * 1.5).sum().backward()
    assert p.grad is held
    assert held.tolist() == [3.5]
