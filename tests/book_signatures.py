"""The signatures of the book, read out of the text of its chapter with the solutions.

The text is prose with code between, whose lines are wrapped and which is not always Python: so it
is scanned for `class` and `def` and never parsed as a whole.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

CHAPTER = Path(__file__).parents[2] / "shared" / "book" / "chapter-11-solutions.txt"

# Where the classes of the chapter belong, by what they are derived from.
MODULES = {
    "Function": "ops", "Module": "nn", "Optimizer": "optim", "Dataset": "data",
}  # fmt: skip
WITHOUT_BASE = {"Tensor": "tensor", "DataLoader": "data", "Trainer": "trainer"}
# Methods that are printed without their class.
LOOSE = {"state_dict": "nn.Module", "load_state_dict": "nn.Module", "backward": "ops.Conv"}


class Parameter(NamedTuple):
    name: str
    optional: bool


class Definition(NamedTuple):
    """A function, method or constructor, `ops.MatMul.forward` for one, without `self`."""

    path: str
    positional: tuple[Parameter, ...]
    named: tuple[Parameter, ...]
    stars: tuple[str, ...]


def classes(text: str) -> list[str]:
    """The classes with their modules, in the order of the text; some stand there twice."""
    return [_class_path(m) for m in re.finditer(r"^ *class (\w+)(?:\((\w+)\))?:", text, re.M)]


def definitions(text: str) -> list[Definition]:
    """Every function and method of the text, but for those inside of others."""
    found = []
    owner, section, method_indent = "", "", 0
    pattern = re.compile(r"^(11\.\d+)|^( *)(class|def) +(\w+)(?:\((\w+)\):)?", re.M)
    for match in pattern.finditer(text):
        if match[1]:
            section = match[1]
        elif match[3] == "class":
            owner = _class_path(re.match(r" *class (\w+)(?:\((\w+)\))?:", match[0] + ":"))
            method_indent = len(match[2]) + 4
        else:
            arguments = _arguments(text, match.start(4) + len(match[4]))
            method = arguments[:1] in (["self"], ["cls"])
            if not method and len(match[2]) > method_indent:
                continue  # a function within a method
            if not method:
                owner = "init" if section == "11.6" else "ops" if section != "11.1" else "tensor"
                path = owner
            else:
                loose = not _inside_class(owner, match[2], method_indent)
                path = LOOSE[match[4]] if loose else owner
            found.append(_definition(f"{path}.{match[4]}", arguments[1:] if method else arguments))
    return found


def _inside_class(owner: str, indent: str, method_indent: int) -> bool:
    return len(owner.split(".")) == 2 and len(indent) == method_indent


def _class_path(match: re.Match[str]) -> str:
    name, base = match[1], match[2]
    return f"{MODULES[base] if base else WITHOUT_BASE[name]}.{name}"


def _arguments(text: str, start: int) -> list[str]:
    """What stands between the parentheses at `start`, split at the commas that are not nested."""
    depth, parts = 0, [""]
    for character in text[start:]:
        depth += character in "([{"
        depth -= character in ")]}"
        if depth == 0:
            break
        if character == "," and depth == 1:
            parts.append("")
        elif depth > 1 or character != "(":
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _definition(path: str, arguments: list[str]) -> Definition:
    positional: list[Parameter] = []
    named: list[Parameter] = []
    stars: list[str] = []
    for argument in arguments:
        name = re.match(r"\*{0,2}\w*", argument)[0]
        if name.startswith("*"):
            stars.append(name)
        else:
            after_star = any(not star.startswith("**") for star in stars)
            (named if after_star else positional).append(Parameter(name, "=" in argument))
    return Definition(path, tuple(positional), tuple(named), tuple(stars))
