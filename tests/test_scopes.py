"""`no_grad`, `device` and the other scopes around functions, generators and coroutines."""

from __future__ import annotations

import asyncio
import threading

import pytest

import babygrad
from babygrad import Tensor, enable_grad, is_grad_enabled, no_grad


@pytest.fixture(autouse=True)
def _recording():
    assert is_grad_enabled()
    yield
    assert is_grad_enabled()


def test_a_generator_records_nothing_while_it_runs(device):
    w = Tensor([2.0], requires_grad=True)

    @no_grad()
    def predictions(n):
        for _ in range(n):
            yield w * 3

    made = predictions(3)
    for prediction in made:
        assert not prediction.requires_grad
        assert (w * 3).requires_grad, "the caller's own work is recorded between two steps"


def test_a_generator_in_which_recording_is_on(device):
    w = Tensor([2.0], requires_grad=True)

    @enable_grad()
    def losses():
        yield w * w
        yield w * 5

    with no_grad():
        first, second = losses()
    assert first.requires_grad
    assert second.requires_grad


def test_everything_passes_between_a_generator_and_its_caller():
    @no_grad()
    def echo(first):
        """Gives back."""
        received = []
        value = first
        try:
            while True:
                assert not is_grad_enabled()
                try:
                    value = yield value
                except KeyError as error:
                    value = f"caught {error}"
                received.append(value)
                if value == "stop":
                    return received
        finally:
            closed.append(is_grad_enabled())

    closed = []
    made = echo(1)
    assert echo.__name__ == "echo"
    assert echo.__doc__ == "Gives back."
    assert next(made) == 1
    assert made.send(2) == 2
    assert made.throw(KeyError("k")) == "caught 'k'"
    with pytest.raises(StopIteration) as end:
        made.send("stop")
    assert end.value.value == [2, "caught 'k'", "stop"]
    other = echo(1)
    next(other)
    other.close()
    third = echo(1)
    next(third)
    with pytest.raises(ZeroDivisionError):
        third.throw(ZeroDivisionError())
    assert closed == [False, False, False]


def test_two_generators_in_turn():
    @no_grad()
    def quiet():
        for _ in range(3):
            yield is_grad_enabled()

    @enable_grad()
    def loud():
        for _ in range(3):
            yield is_grad_enabled()

    with no_grad():
        assert list(zip(quiet(), loud(), strict=True)) == [(False, True)] * 3
        assert not is_grad_enabled()


def test_coroutines_that_run_in_turn():
    async def caller():
        return await asyncio.gather(quiet(), loud(), quiet())

    @no_grad()
    async def quiet():
        seen = [is_grad_enabled()]
        await asyncio.sleep(0.001)
        seen.append(is_grad_enabled())
        return seen

    async def loud():
        seen = [is_grad_enabled()]
        for _ in range(5):
            await asyncio.sleep(0)
            seen.append(is_grad_enabled())
        return seen

    first, second, third = asyncio.run(caller())
    assert first == third == [False, False]
    assert second == [True] * 6


def test_an_error_in_a_coroutine_reaches_its_caller():
    @no_grad()
    async def failing():
        await asyncio.sleep(0)
        raise ValueError("what went wrong")

    with pytest.raises(ValueError, match="what went wrong"):
        asyncio.run(failing())


def test_an_asynchronous_generator():
    @no_grad()
    async def stream(n):
        try:
            for i in range(n):
                await asyncio.sleep(0)
                try:
                    yield i, is_grad_enabled()
                except KeyError:
                    yield "caught", is_grad_enabled()
        finally:
            closed.append(is_grad_enabled())

    async def use():
        seen = []
        async for item in stream(3):
            seen.append(item)
            assert is_grad_enabled()
        early = stream(9)
        seen.append(await early.__anext__())
        seen.append(await early.athrow(KeyError()))
        await early.aclose()
        return seen

    closed = []
    quiet = [(i, False) for i in range(3)]
    assert asyncio.run(use()) == [*quiet, (0, False), ("caught", False)]
    assert closed == [False, False]


def test_a_method_that_is_a_generator(device):
    class Source:
        scale = 2

        @no_grad()
        def items(self, x):
            yield x * self.scale

    (item,) = Source().items(Tensor([1.0], requires_grad=True))
    assert item.tolist() == [2]
    assert not item.requires_grad


def test_the_other_scopes_decorate_generators_too(device):
    @babygrad.device("cpu:numpy")
    def tensors():
        for _ in range(2):
            yield Tensor([1.0]).device

    for name in tensors():
        assert name == "cpu:numpy"
        assert Tensor([1.0]).device == device

    before = babygrad.get_num_threads()

    @babygrad.threads(1)
    def counts():
        yield babygrad.get_num_threads()
        yield babygrad.get_num_threads()

    for count in counts():
        assert count == 1
        assert babygrad.get_num_threads() == before

    @babygrad.detect_anomaly()
    def logarithms():
        yield babygrad.ops.log(Tensor([1.0]))
        yield babygrad.ops.log(Tensor([0.0]))

    made = logarithms()
    assert next(made).tolist() == [0]
    assert babygrad.ops.log(Tensor([0.0])).tolist() == [-float("inf")]
    with pytest.raises(RuntimeError, match="Log: the result"):
        next(made)


def test_a_decorated_function_may_run_in_several_threads_at_once():
    """What one call puts back is not what another one found."""
    inside, leave = threading.Barrier(2), threading.Event()

    @enable_grad()
    def wait(last):
        inside.wait(10)
        if last:
            leave.wait(10)

    def worker(mode, last, found):
        with mode():
            wait(last)
            found.append(is_grad_enabled())
        leave.set()

    for modes in ((no_grad, enable_grad), (enable_grad, no_grad)):
        leave.clear()
        found = [[], []]
        started = [threading.Thread(target=worker, args=(modes[i], i, found[i])) for i in range(2)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join(10)
        assert found == [[mode is enable_grad] for mode in modes]


def test_a_block_inside_itself():
    mode = no_grad()
    with mode:
        with mode, enable_grad():
            assert is_grad_enabled()
        assert not is_grad_enabled()

    @mode
    def countdown(n):
        return [is_grad_enabled(), *(countdown(n - 1) if n else [])]

    assert countdown(3) == [False] * 4


def test_no_grad_decorates_without_parentheses_too():
    @no_grad
    def plain():
        return is_grad_enabled()

    @no_grad
    def generator():
        yield is_grad_enabled()

    @enable_grad
    def recorded():
        return is_grad_enabled()

    assert plain() is False
    assert list(generator()) == [False]
    with no_grad():
        assert recorded() is True
