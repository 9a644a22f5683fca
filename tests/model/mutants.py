"""Changes the domain in every small way that these operators know, one at a time, and walks the worlds with each.

`.venv/bin/python -m tests.model.mutants` prints the changes that no walk notices.
"""

import ast
import copy
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

from assistance.domain import record, transitions
from tests.model.mistakes import changed
from tests.model.walk import walk
from tests.model.worlds import SMALL

_OPPOSITE: Final = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change: the module, the line, and the code before and after."""

    module: str
    line: int
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.before}  →  {self.after}"


def mutants(module: ModuleType) -> Iterator[Mutant]:
    """Every change to the module."""
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    # A walk uses the real classes, whatever decorates a class or is a member's default.
    defaults = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for member in (*node.decorator_list, *node.body)
        if not isinstance(member, ast.FunctionDef)
        for part in ast.walk(member)
    }
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in defaults:
            continue
        for variant in range(len(list(_changes(node)))):
            mutated = copy.deepcopy(tree)
            target = next(each for place, each in enumerate(ast.walk(mutated)) if place == number)
            new = list(_changes(target))[variant]
            _put(mutated, target, new)
            name = module.__name__.rpartition(".")[2]
            yield Mutant(name, getattr(node, "lineno", 0), ast.unparse(node), ast.unparse(new), ast.unparse(mutated))


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left, [operator], [right]) if type(operator) in _OPPOSITE:
            yield ast.Compare(left, [_OPPOSITE[type(operator)]()], [right])
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
            for index in range(len(values)):
                rest = [*values[:index], *values[index + 1 :]]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(operator, rest)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.If(_, body, orelse):
            yield ast.If(ast.Constant(value=True), body, orelse)
            yield ast.If(ast.Constant(value=False), body, orelse)
        case ast.IfExp(_, body, orelse):
            yield body
            yield orelse
        case ast.Call(ast.Name("replace"), arguments, keywords) if len(keywords) > 1:
            for index in range(len(keywords)):
                yield ast.Call(ast.Name("replace"), arguments, [*keywords[:index], *keywords[index + 1 :]])
        case ast.Constant(bool() as value):
            yield ast.Constant(value=not value)


def _put(tree: ast.AST, target: ast.AST, new: ast.AST) -> None:
    ast.copy_location(new, target)
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, new)
            elif isinstance(value, list):
                for index, each in enumerate(value):
                    if each is target:
                        value[index] = new
    ast.fix_missing_locations(tree)


def survives(mutant: Mutant) -> Mutant | None:
    """The mutant, if no small world notices it."""
    module = {"record": record, "transitions": transitions}[mutant.module]
    with changed(module, mutant.source) as core:
        for start in SMALL.values():
            try:
                found = walk(start, core=core, most=200_000)
            except Exception:  # noqa: BLE001 # a function that can't run is noticed
                return None
            if found.wrong or not found.complete:
                return None
    return mutant


def survivors() -> tuple[int, list[Mutant]]:
    """How many mutants there are, and those that no world notices."""
    every = [mutant for module in (record, transitions) for mutant in mutants(module)]
    with ProcessPoolExecutor() as pool:
        return len(every), [each for each in pool.map(survives, every, chunksize=4) if each]


if __name__ == "__main__":
    count, left = survivors()
    for each in left:
        sys.stdout.write(f"{each}\n")
    sys.stdout.write(f"{count} mutants, {len(left)} survive\n")
