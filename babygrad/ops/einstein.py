"""Einstein summation: `einsum`, any product of tensors summed over some of their indices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from string import ascii_lowercase, ascii_uppercase
from typing import Any, NamedTuple

from babygrad.ops._common import promoted, whole
from babygrad.ops.linalg import MatMul
from babygrad.ops.reduction import summation
from babygrad.ops.shape import Reshape, permute, reshape
from babygrad.tensor import Tensor

__all__ = ["einsum"]

# What stands for the integers of the form with lists; ascending, for a missing result is sorted.
_LETTERS = ascii_uppercase + ascii_lowercase
# The axes that an ellipsis stands for, the last one first: characters that are no letters.
_HIDDEN = [chr(0xE000 + i) for i in range(64)]


class _Equation(NamedTuple):
    """The letters of each operand's axes, and of the result's; `text` and `names` are for messages.

    An ellipsis is written out: hidden letters stand for its axes, the last one first.
    """

    terms: list[str]
    result: str
    text: str
    names: dict[str, str]

    def name(self, letter: str) -> str:
        return "of '...'" if letter in _HIDDEN else self.names.get(letter, repr(letter))


def einsum(equation: Any, *operands: Any) -> Tensor:
    """Products of tensors summed over the indices that the result does not have.

    Operands are contracted from left to right, each pair by one matrix product.

    Parameters
    ----------
    equation : str
        Such as "bij,bjk->bik": a letter for each axis of each operand, and of the result. A letter
        twice in one operand takes its diagonal; an ellipsis stands for further axes, which
        broadcast. Without "->" the result has the ellipsis' axes, then the letters that occur
        once, in alphabetical order.
    *operands : Tensor
        An axis of size 1 is repeated to the size that its letter has in the other operands.

    Raises
    ------
    ValueError
        When the equation does not fit the operands, or a letter stands for two sizes.

    Notes
    -----
    As in numpy, the indices may also be given as lists of integers and `...` behind each operand,
    and at the end for the result: `einsum(a, [0, 1], b, [1, 2], [0, 2])`.

    Examples
    --------
    >>> import babygrad
    >>> a = babygrad.Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> babygrad.ops.einsum("ii->", a).item()
    5.0
    """
    names: dict[str, str] = {}
    text, given = repr(equation), [*operands]
    if not isinstance(equation, str):
        equation, given, names, text = _from_lists([equation, *operands])
    if not given:
        raise ValueError("einsum: there must be at least one operand")
    tensors = promoted("einsum", *given)
    parsed = _parsed(equation, [t.ndim for t in tensors], text, names)
    sizes = _sizes(parsed, tensors)
    terms, result = parsed.terms, parsed.result
    left, tensor = _prepared(terms[0], tensors[0], sizes, {*result, *"".join(terms[1:])})
    for i in range(1, len(tensors)):
        later = {*result, *"".join(terms[i + 1 :])}
        term, other = _prepared(terms[i], tensors[i], sizes, {*left, *later})
        left, tensor = _prepared(left, tensor, sizes, {*term, *later})
        left, tensor = _contract(left, tensor, term, other, later)
    return permute(tensor, [left.index(letter) for letter in result])


# ----- What the equation says -----


def _from_lists(arguments: list[Any]) -> tuple[str, list[Any], dict[str, str], str]:
    """The equation and the operands of `a, [0, 1], b, [1, 2], [0, 2]`."""
    count = len(arguments) // 2
    lists = arguments[1 : 2 * count : 2] + arguments[2 * count :]
    terms = [_letters(listed) for listed in lists]
    arrow = "->" + terms.pop() if len(arguments) % 2 else ""
    names = {letter: str(i) for i, letter in enumerate(_LETTERS)}
    text = ", ".join("[" + ", ".join("..." if k is ... else str(k) for k in x) + "]" for x in lists)
    return ",".join(terms) + arrow, arguments[0 : 2 * count : 2], names, text


def _letters(indices: Any) -> str:
    """A letter for each integer."""
    if not isinstance(indices, Sequence) or isinstance(indices, str):
        raise TypeError(
            f"einsum: indices are a string, or a list behind each operand, "
            f"not a {type(indices).__name__}"
        )
    letters = ""
    for index in indices:
        number = 0 if index is ... else whole("einsum", "an index", index)
        if not 0 <= number < len(_LETTERS):
            raise ValueError(f"einsum: index {number} must be in [0, {len(_LETTERS)})")
        letters += "..." if index is ... else _LETTERS[number]
    return letters


def _parsed(equation: str, ndims: list[int], text: str, names: dict[str, str]) -> _Equation:
    """The letters of the operands and of the result, with ellipses written out."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ndims):
        raise ValueError(f"einsum: {text} is for {len(terms)} operands, not {len(ndims)}")
    longest = 0
    for i, (term, ndim) in enumerate(zip(terms, ndims, strict=True)):
        before, dots, after = term.partition("...")
        hidden = ndim - len(before + after) if dots else 0
        terms[i] = before + _hidden(hidden) + after
        if len(terms[i]) != ndim or (before + after and not (before + after).isalpha()):
            raise ValueError(f"einsum: {term!r} in {text} does not fit {ndim} axes")
        longest = max(longest, hidden)
    if not arrow:
        letters = "".join(terms)
        once = [c for c in letters if letters.count(c) == 1 and c not in _HIDDEN]
        return _Equation(terms, _hidden(longest) + "".join(sorted(once)), text, names)
    result = result.replace("...", _hidden(longest), 1)
    if len(set(result)) != len(result):
        raise ValueError(f"einsum: the result of {text} has an index twice")
    return _Equation(terms, result, text, names)


def _hidden(count: int) -> str:
    return "".join(reversed(_HIDDEN[: max(count, 0)]))


def _sizes(equation: _Equation, tensors: list[Tensor]) -> dict[str, int]:
    """What each letter stands for; an axis of size 1 fits every size."""
    sizes: dict[str, int] = {}
    for term, tensor in zip(equation.terms, tensors, strict=True):
        for letter, n in zip(term, tensor.shape, strict=True):
            known = sizes.get(letter, 1)
            first = tensor.shape[term.index(letter)]  # of a diagonal, whose sizes must be equal
            if first != n or not (known == n or 1 in (known, n)):
                shapes = ", ".join(str(t.shape) for t in tensors)
                raise ValueError(
                    f"einsum: index {equation.name(letter)} of {equation.text} has sizes "
                    f"{known if first == n else first} and {n} in operands of shapes {shapes}"
                )
            sizes[letter] = n if known == 1 else known
    if missing := set(equation.result) - set(sizes):
        named = sorted(equation.names.get(letter, letter) for letter in missing)
        raise ValueError(f"einsum: {equation.text} has {named} in the result only")
    return sizes


# ----- The products -----


def _prepared(term: str, a: Tensor, sizes: dict[str, int], needed: set[str]) -> tuple[str, Tensor]:
    """Diagonals taken for letters that are there twice, and what nobody needs summed away.

    An axis of size 1 whose letter stands for more goes too: a product with it repeats it anyway.
    """
    for letter in term:
        if term.count(letter) > 1:
            i, j = term.index(letter), term.rindex(letter)
            a = a.diagonal(0, i, j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + letter
    own = "".join(letter for letter, n in zip(term, a.shape, strict=True) if n == sizes[letter])
    if own != term:
        term, a = own, Reshape(tuple(sizes[letter] for letter in own))(a)
    alone = tuple(i for i, letter in enumerate(term) if letter not in needed)
    if alone:
        a = summation(a, alone)
    return "".join(letter for letter in term if letter in needed), a


def _contract(left: str, a: Tensor, right: str, b: Tensor, later: set[str]) -> tuple[str, Tensor]:
    """Two operands to one, by a matrix product over the letters that are not needed later."""
    both = [letter for letter in left if letter in right]
    batch = [letter for letter in both if letter in later]
    summed = [letter for letter in both if letter not in later]
    rows = [letter for letter in left if letter not in right]
    columns = [letter for letter in right if letter not in left]
    size = {**dict(zip(left, a.shape, strict=True)), **dict(zip(right, b.shape, strict=True))}

    def matrices(term: str, t: Tensor, *groups: list[str]) -> Tensor:
        ordered = permute(t, [term.index(letter) for group in groups for letter in group])
        return reshape(ordered, [math.prod(size[letter] for letter in group) for group in groups])

    product = MatMul()(
        matrices(left, a, batch, rows, summed), matrices(right, b, batch, summed, columns)
    )
    term = "".join([*batch, *rows, *columns])
    return term, reshape(product, [size[letter] for letter in term])
