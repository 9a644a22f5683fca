"""Changes the domain code in every small way, one change at a time, and finds the test that detects each change.

The unit tests of the domain run first, since they take milliseconds, and then the model checker on small worlds. `make
domain-mutants` prints which test detects each change. With `ARGS="claim sent"` it changes only these functions.
"""

import ast
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

from assistance.domain import record, takes, transitions
from tests.model.core import core_of
from tests.model.mistakes import changed
from tests.model.walk import walk
from tests.model.worlds import SMALL
from tests.unit import test_record, test_takes, test_transitions

_OPPOSITE: Final = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
}  # fmt: skip


class Mutant(NamedTuple):
    """One change: the module, the function, the code before and after, and the module's source with the change."""

    module: str
    function: str
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"{self.function}: {self.before} → {self.after}"


def mutants(module: ModuleType, functions: Collection[str] = ()) -> Iterator[Mutant]:
    """Every small change to the module, or only to the functions with these names."""
    tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
    # The model checker uses the real classes, so changes to decorators and defaults of classes have no effect.
    defaults = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for member in (*node.decorator_list, *node.body)
        if not isinstance(member, ast.FunctionDef)
        for part in ast.walk(member)
    }
    around = _functions_around(tree)
    for node in list(ast.walk(tree)):
        function = around.get(id(node), "module")
        if id(node) in defaults or (functions and function not in functions):
            continue
        for new in _changes(node):
            _put(tree, node, new)
            source = ast.unparse(tree)
            _put(tree, new, node)
            name = module.__name__.rpartition(".")[2]
            yield Mutant(name, function, _text(node), _text(new), source)


def _functions_around(tree: ast.AST) -> dict[int, str]:
    """For the Python `id` of each node in a function, the function's name."""
    functions = (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef))
    return {id(part): function.name for function in functions for part in ast.walk(function)}


def _text(node: ast.AST) -> str:
    return f"if {ast.unparse(node.test)}" if isinstance(node, ast.If) else ast.unparse(node)


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


class Noticed(NamedTuple):
    """A mutant, and `by` what it is detected: the name of a unit test or of a world of the model checker, or None."""

    mutant: str
    by: str | None
    is_world: bool = False


def noticed(mutant: Mutant) -> Noticed:
    """Return the first test or world that detects this mutant."""
    module = {"record": record, "takes": takes, "transitions": transitions}[mutant.module]
    with changed(module, mutant.source) as core:
        if test := _failing_test(core):
            return Noticed(str(mutant), test)
        for name, start in SMALL.items():
            try:
                found = walk(start, core=core, most=200_000, odd_events=True)
            except Exception:  # noqa: BLE001 # a function that can't run is noticed
                return Noticed(str(mutant), name, is_world=True)
            if found.wrong or not found.complete:
                return Noticed(str(mutant), name, is_world=True)
    return Noticed(str(mutant), None)


def _failing_test(core: ModuleType) -> str | None:
    """The name of the first unit test that fails if it calls the functions of `core`; None if none fails."""
    real = vars(core_of())
    for module in (test_record, test_transitions, test_takes):
        right = {name: value for name, value in vars(module).items() if name in real and real[name] is value}
        vars(module).update({name: vars(core)[name] for name in right})
        try:
            for name, test in list(vars(module).items()):
                if name.startswith("test_"):
                    try:
                        test()
                    except Exception:  # noqa: BLE001 # whatever a test raises, it has failed
                        return name
        finally:
            vars(module).update(right)
    return None


def mutants_of(functions: Collection[str] = ()) -> list[Mutant]:
    """Every small change to the domain, or only to these functions. Raises `ValueError` if one allows no change."""
    every = [mutant for module in (record, transitions, takes) for mutant in mutants(module, functions)]
    if unknown := set(functions) - {mutant.function for mutant in every}:
        raise ValueError(f"nothing to change in: {', '.join(sorted(unknown))}")
    return every


def results(functions: Collection[str] = ()) -> list[Noticed]:
    """Return the test or world that detects each mutant of the domain, or of these functions."""
    with ProcessPoolExecutor() as pool:
        return list(pool.map(noticed, mutants_of(functions)))


if __name__ == "__main__":
    found = results(sys.argv[1:])
    for each in found:
        sys.stdout.write(f"{each.by or 'NOBODY'}: {each.mutant}\n")
    count = Counter("nobody" if each.by is None else "a walk" if each.is_world else "a unit test" for each in found)
    sys.stdout.write(f"{len(found)} mutants, noticed by {dict(count)}\n")
