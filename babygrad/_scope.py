"""`Scope`: the base of context managers that decorate every kind of function.

A decorator that only enters its block around a call does nothing for a generator function or a
coroutine function: the call makes an object, which runs later, outside of the block.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import AsyncIterator, Callable, Generator
from functools import wraps
from types import coroutine
from typing import Any, Self


class Scope:
    """A context manager and a decorator; of functions, generators, coroutines and both in one.

    A generator or coroutine is inside the block whenever it runs and outside while it is
    suspended, at a `yield` or an `await`: whoever goes on in the meantime does not see it.

    A subclass defines `__enter__` and `__exit__`. One block may be entered again inside itself:
    `_previous` is the stack of what the exits put back.
    """

    def __init__(self) -> None:
        self._previous: list[Any] = []

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, *exc_info: object) -> None:
        raise NotImplementedError

    def _fresh(self) -> Self:
        """The same block with a stack of its own: calls may overlap in several threads."""
        twin = copy.copy(self)
        twin._previous = []
        return twin

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function, run inside the block."""
        if inspect.isgeneratorfunction(func):

            @wraps(func)
            def decorated(*args: Any, **kwargs: Any) -> Any:
                return (yield from _stepped(self._fresh(), func(*args, **kwargs)))

        elif inspect.iscoroutinefunction(func):

            @wraps(func)
            async def decorated(*args: Any, **kwargs: Any) -> Any:
                return await _stepped(self._fresh(), func(*args, **kwargs))

        elif inspect.isasyncgenfunction(func):

            @wraps(func)
            def decorated(*args: Any, **kwargs: Any) -> Any:
                return _stepped_async(self._fresh(), func(*args, **kwargs))

        else:

            @wraps(func)
            def decorated(*args: Any, **kwargs: Any) -> Any:
                with self._fresh():
                    return func(*args, **kwargs)

        return decorated


@coroutine
def _stepped(scope: Scope, inner: Any) -> Generator[Any, Any, Any]:
    """What `yield from inner` does, with `inner` running inside the scope and waiting outside.

    `inner` is a generator, a coroutine or one step of an asynchronous generator: all have `send`,
    `throw` and `close`.
    """
    resume, value = inner.send, None
    while True:
        try:
            with scope:
                request = resume(value)
        except StopIteration as end:
            return end.value
        try:
            value = yield request
            resume = inner.send
        except GeneratorExit:
            with scope:
                inner.close()
            raise
        except BaseException as error:
            resume, value = inner.throw, error


async def _stepped_async(scope: Scope, inner: Any) -> AsyncIterator[Any]:
    """`_stepped` for an asynchronous generator, step by step."""
    step = inner.asend(None)
    while True:
        try:
            item = await _stepped(scope, step)
        except StopAsyncIteration:
            return
        try:
            step = inner.asend((yield item))
        except GeneratorExit:
            await _stepped(scope, inner.aclose())
            raise
        except BaseException as error:
            step = inner.athrow(error)
