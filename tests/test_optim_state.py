"""Saved optimizers, schedules and generators: through JSON, and what is refused before a change."""

import copy
import json

import numpy as np
import pytest

import babygrad
from babygrad import Tensor, random
from babygrad.optim import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    CosineLR,
    LinearWarmup,
    Lion,
    Muon,
    OneCycleLR,
    ReduceLROnPlateau,
    RMSprop,
    StepLR,
)

OPTIMIZERS = {
    "sgd": lambda params: SGD(params, momentum=0.9),
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "rmsprop-momentum": lambda params: RMSprop(params, momentum=0.5),
    "adagrad": Adagrad,
    "lion": Lion,
    "muon": lambda params: Muon([{"params": params[:1]}, {"params": params[1:], "adamw": True}]),
}


def parameters(dtype="float32"):
    shapes = [(3, 4), (5,), (), (0,)]
    rng = np.random.default_rng(3)
    return [Tensor(rng.normal(size=s), dtype=dtype, requires_grad=True) for s in shapes]


def run(optimizer, steps, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        for p in optimizer.params[:3]:  # the fourth never has a gradient
            p.grad = rng.normal(size=p.shape).astype(p.dtype)
        optimizer.step()


def through_json(state):
    return json.loads(json.dumps(state, default=lambda array: array.tolist()))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("case", OPTIMIZERS)
def test_a_state_that_went_through_json_continues_bit_identically(device, case, dtype):
    through, resumed = parameters(dtype), parameters(dtype)
    optimizer, successor = OPTIMIZERS[case](through), OPTIMIZERS[case](resumed)
    run(optimizer, 3)
    for p, q in zip(through, resumed, strict=True):
        q.data[...] = p.data
    saved = through_json(optimizer.state_dict())
    assert [*saved["state"]] == ["0", "1", "2", "3"]
    successor.load_state_dict(saved)
    for o in (optimizer, successor):
        run(o, 3, seed=1)
    assert successor.t == 6
    for p, q in zip(through, resumed, strict=True):
        assert p.data.tobytes() == q.data.tobytes()


def test_only_the_keys_as_strings_are_read_too():
    (p, *_) = parameters()
    optimizer = Adam([p])
    run(optimizer, 2)
    state = optimizer.state_dict()
    state["state"] = {str(i): saved for i, saved in state["state"].items()}
    successor = Adam([Tensor(p, requires_grad=True)])
    successor.load_state_dict(state)
    (q,) = successor.params
    np.testing.assert_array_equal(successor.v[q], optimizer.v[p])
    assert successor.steps[q] == 2


def changed(change):
    """A state of Adam for two parameters of shapes (3, 4) and (5,), after `change(state)`."""
    optimizer = Adam(parameters()[:2])
    run(optimizer, 2)
    state = optimizer.state_dict()
    return change(state) or state


def moved(key, other):
    def change(state):
        state["state"][other] = state["state"].pop(key)

    return change


def put(*path):
    def change(state):
        *way, last, value = path
        for key in way:
            state = state[key]
        state[last] = value

    return change


def without(*path):
    def change(state):
        *way, last = path
        for key in way:
            state = state[key]
        del state[last]

    return change


PARAMS = "param_groups", 0, "params"
BAD_STATES = {
    "unknown key": (moved(1, "one"), ValueError, "has the key 'one'; its keys must be the posit"),
    "too far": (moved(1, 2), ValueError, "has the key 2; .* the optimizer's 2 parameters"),
    "negative": (moved(1, "-1"), ValueError, "has the key '-1'"),
    "padded": (moved(1, " 1"), ValueError, "has the key ' 1'"),
    "leading zero": (moved(1, "01"), ValueError, "has the key '01'"),
    "other digits": (moved(1, "\u0661"), ValueError, "has the key"),
    "None": (moved(1, None), ValueError, "has the key None"),
    "False": (moved(0, False), ValueError, "has the key False; its keys must be the positions"),
    "a float": (moved(0, 0.0), ValueError, r"has the key 0\.0; its keys must be the positions"),
    "a numpy bool": (moved(1, np.True_), ValueError, r"has the key (np\.)?True_?;"),
    "twice": (put("state", "1", {}), ValueError, "has the key '1'; .* each once"),
    "lost": (without("state", 1), ValueError, "'state' lacks the parameters at 1"),
    "lost moment": (without("state", 0, "v"), ValueError, "state of parameter 0 lacks v"),
    "lost count": (without("state", 0, "steps"), ValueError, "state of parameter 0 lacks steps"),
    "no dict": (put("state", 0, [1]), TypeError, "the state of parameter 0 is a list; it must be"),
    "no states": (put("state", None), TypeError, "'state' is a NoneType; it must be a dict"),
    "no state": (lambda state: [state], TypeError, "the state is a list; it must be a dict"),
    "no t": (without("t"), ValueError, "has the keys 'param_groups', 'state'; it must have 't'"),
    "extra": (put("epoch", 3), ValueError, "has the keys 't', 'param_groups', 'state', 'epoch'"),
    "t": (put("t", -1), ValueError, r"t \(=-1\) must be an integer from 0 on"),
    "t as text": (put("t", "2"), ValueError, r"t \(='2'\) must be an integer"),
    "bool": (put("t", True), ValueError, r"t \(=True\) must be an integer"),
    "steps": (put("state", 1, "steps", 1.5), ValueError, r"steps of parameter 1 \(=1.5\) must be"),
    "shape": (put("state", 1, "m", np.ones(4)), ValueError, r"m of parameter 1 has shape \(4,\)"),
    "scalar": (put("state", 1, "m", 3), ValueError, r"m of parameter 1 has shape \(\)"),
    "ragged": (put("state", 1, "m", [[1], 2]), ValueError, "m of parameter 1 is no array of num"),
    "complex": (put("state", 1, "v", np.ones(5) * 1j), ValueError, "v of parameter 1 is of type c"),
    "strings": (put("state", 1, "v", np.array(["1"] * 5)), ValueError, "1 is of type <U1; it must"),
    "text": (put("state", 1, "v", "12345"), ValueError, "v of parameter 1 is of type str"),
    "objects": (put("state", 1, "v", np.array([None] * 5)), ValueError, "1 is of type object"),
    "null": (put("state", 1, "v", None), ValueError, "v of parameter 1 is of type NoneType"),
    "bools": (put("state", 1, "v", np.ones(5, bool)), ValueError, "1 is of type bool"),
    "lr": (put("param_groups", 0, "lr", "0.1"), ValueError, r"lr \(='0.1'\) must be at least 0"),
    "nan": (put("param_groups", 0, "beta1", np.nan), ValueError, r"beta1 \(=nan\) must be at lea"),
    "setting": (
        put("param_groups", 0, "betas", (0.9, 0.9)),
        ValueError,
        "of the two has betas",
    ),
    "groups": (put("param_groups", {}), TypeError, "'param_groups' must be a list of dicts"),
    "group": (put("param_groups", [0]), TypeError, "'param_groups' must be a list of dicts"),
    "positions": (put("param_groups", 0, "params", [1, 0]), ValueError, r"at \[\[1, 0\]\], not at"),
    "an array": (
        put(*PARAMS, np.array([0, 1])),
        TypeError,
        r"'params' of group 0 is array\(\[0, 1",
    ),
    "an array in a list": (put(*PARAMS, [np.array([0, 1])]), TypeError, "'params' of group 0 is"),
    "bools for positions": (
        put(*PARAMS, [False, True]),
        TypeError,
        r"is \[False, True\]; it must be a list of",
    ),
    "floats": (put(*PARAMS, [0.0, 1.0]), TypeError, r"is \[0\.0, 1\.0\]; it must be a list of"),
    "a number": (put(*PARAMS, 0), TypeError, "'params' of group 0 is 0; it must be a list of"),
    "a tuple too short": (put(*PARAMS, (0,)), ValueError, r"groups with \[1\] parameters, the opt"),
    "no positions": (without("param_groups", 0, "params"), ValueError, r"groups with \[0\] param"),
}


@pytest.mark.parametrize("case", BAD_STATES)
def test_a_state_that_does_not_fit_is_refused_before_anything_changes(case):
    change, error, message = BAD_STATES[case]
    optimizer = Adam(parameters()[:2], lr=0.5)
    run(optimizer, 1, seed=5)
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(error, match=rf"Adam\.load_state_dict: .*{message}"):
        optimizer.load_state_dict(changed(change))
    after = optimizer.state_dict()
    assert (after["t"], after["param_groups"]) == (before["t"], before["param_groups"])
    for i in (0, 1):
        for name in ("m", "v", "steps"):
            np.testing.assert_array_equal(after["state"][i][name], before["state"][i][name])


@pytest.mark.parametrize("positions", [(0, 1), [np.int64(0), np.int32(1)]])
def test_positions_may_be_any_sequence_of_integers(positions):
    optimizer, other = (Adam(parameters()[:2], lr=lr) for lr in (0.5, 0.25))
    state = optimizer.state_dict()
    state["param_groups"][0]["params"] = positions
    other.load_state_dict(state)
    assert other.lr == 0.5


@pytest.mark.parametrize("value", ["yes", 2, None])
def test_a_saved_switch_must_be_one(value):
    optimizer = SGD(parameters(), momentum=0.9)
    state = optimizer.state_dict()
    state["param_groups"][0]["nesterov"] = value
    with pytest.raises(ValueError, match=r"SGD\.load_state_dict: nesterov .* must be True or"):
        optimizer.load_state_dict(state)


# ----- Schedules -----


def optimizer_of_one():
    return SGD([Tensor([0.0], requires_grad=True)], lr=1.0)


SCHEDULES = {
    "step": lambda o: StepLR(o, 3),
    "cosine": lambda o: CosineLR(o, 20),
    "warmup": lambda o: LinearWarmup(o, 5, CosineLR(o, 20)),
    "one-cycle": lambda o: OneCycleLR(o, 1.0, 20),
}


@pytest.mark.parametrize("case", SCHEDULES)
def test_a_schedule_that_went_through_json_goes_on(case):
    through, resumed = (SCHEDULES[case](optimizer_of_one()) for _ in range(2))
    for _ in range(7):
        through.step()
    resumed.load_state_dict(through_json(through.state_dict()))
    assert resumed.optimizer.lr == through.optimizer.lr
    for _ in range(7):
        through.step()
        resumed.step()
    assert resumed.optimizer.lr == through.optimizer.lr


def test_a_plateau_that_went_through_json_goes_on():
    for metrics in ([], [1.0, 1.0]):  # without a metric the best is infinite
        through, resumed = (ReduceLROnPlateau(optimizer_of_one(), patience=2) for _ in range(2))
        for metric in metrics:
            through.step(metric)
        resumed.load_state_dict(through_json(through.state_dict()))
        assert (resumed.best, resumed.waited) == (through.best, through.waited)


BAD_SCHEDULES = {
    "unknown": ({"t": 1, "base": [1.0], "last_epoch": 3}, "the keys 't', 'base', 'last_epoch'"),
    "missing": ({"base": [1.0]}, "it must have 't', 'base'"),
    "plateau's": ({"best": 1.0, "waited": 0}, "it must have 't', 'base'"),
    "no dict": ([1, [1.0]], "the state is a list"),
    "t": ({"t": "3", "base": [1.0]}, r"t \(='3'\) must be an integer"),
    "negative t": ({"t": -3, "base": [1.0]}, r"t \(=-3\) must be an integer from 0 on"),
    "base": ({"t": 3, "base": 1.0}, "'base' is a float; it must be a list"),
    "text": ({"t": 3, "base": ["1.0"]}, r"base 0 \(='1.0'\) must be at least 0"),
    "nan": ({"t": 3, "base": [np.nan]}, r"base 0 \(=nan\) must be at least 0"),
    "groups": ({"t": 3, "base": []}, "of 0 parameter groups, the optimizer has 1"),
}


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("case", BAD_SCHEDULES)
def test_a_schedule_refuses_a_state_before_anything_changes(case, kind):
    schedule = SCHEDULES[kind](optimizer_of_one())
    schedule.step()
    before = (schedule.state_dict(), schedule.optimizer.lr)
    state, message = BAD_SCHEDULES[case]
    with pytest.raises((TypeError, ValueError), match=rf"\.load_state_dict: .*{message}"):
        schedule.load_state_dict(state)
    assert (schedule.state_dict(), schedule.optimizer.lr) == before


BAD_PLATEAUS = {
    "unknown": ({"best": 1.0, "waited": 0, "mode": "min"}, "has the keys .* it must have 'best'"),
    "missing": ({"best": 1.0}, "it must have 'best', 'waited'"),
    "schedule's": ({"t": 1, "base": [1.0]}, "it must have 'best', 'waited'"),
    "nan": ({"best": np.nan, "waited": 0}, r"best \(=nan\) must be a number"),
    "text": ({"best": "1.0", "waited": 0}, r"best \(='1.0'\) must be a number"),
    "waited": ({"best": 1.0, "waited": 1.5}, r"waited \(=1.5\) must be an integer"),
}


@pytest.mark.parametrize("case", BAD_PLATEAUS)
def test_a_plateau_refuses_a_state_before_anything_changes(case):
    schedule = ReduceLROnPlateau(optimizer_of_one())
    schedule.step(3.0)
    schedule.step(4.0)
    state, message = BAD_PLATEAUS[case]
    with pytest.raises(ValueError, match=rf"ReduceLROnPlateau\.load_state_dict: .*{message}"):
        schedule.load_state_dict(state)
    assert (schedule.best, schedule.waited) == (3.0, 1)


# ----- Generators -----


@pytest.fixture(params=[None, 5])
def seed(request):
    babygrad.manual_seed(request.param)
    yield
    babygrad.manual_seed(None)


@pytest.mark.usefixtures("seed")
def test_a_generators_state_that_went_through_json_repeats_the_draws():
    state = through_json(random.get_state())
    drawn = random.uniform((5,))
    random.normal((3,))
    random.set_state(state)
    np.testing.assert_array_equal(random.uniform((5,)), drawn)


BAD_GENERATORS = {
    "none": None,
    "empty": {},
    "other keys": {"seed": 3},
    "both": {"generator": {}, "numpy_global": {}},
    "kind": {"generator": {"bit_generator": "MT19937"}},
    "type": {"generator": 3},
    "lost": {"generator": {"bit_generator": "PCG64", "state": {"state": 1}}},
    "negative": {
        "generator": {
            "bit_generator": "PCG64",
            "state": {"state": -1, "inc": 1},
            "has_uint32": 0,
            "uinteger": 0,
        }
    },
    "global type": {"numpy_global": [1, 2]},
    "global kind": {"numpy_global": {"bit_generator": "PCG64", "state": {"key": [1], "pos": 0}}},
    "short": {
        "numpy_global": {
            "bit_generator": "MT19937",
            "state": {"key": [1, 2], "pos": 0},
            "has_gauss": 0,
            "gauss": 0.0,
        }
    },
    "far": {
        "numpy_global": {
            "bit_generator": "MT19937",
            "state": {"key": [1] * 624, "pos": 10**6},
            "has_gauss": 0,
            "gauss": 0.0,
        }
    },
}


@pytest.mark.usefixtures("seed")
@pytest.mark.parametrize("case", BAD_GENERATORS)
def test_a_generator_refuses_a_state_before_anything_changes(case):
    state = random.get_state()
    drawn = random.uniform((5,))
    random.set_state(state)
    with pytest.raises(ValueError, match=r"set_state: .*must come from get_state\(\)"):
        random.set_state(BAD_GENERATORS[case])
    np.testing.assert_array_equal(random.uniform((5,)), drawn)
