"""Changes the domain code in every small way, one change at a time, and finds the test that detects each change.

`make domain-mutants` prints for each change which unit test detects it, and which small world of the model checker.
With `ARGS="claim sent"` it changes only these functions. `make test` asks the model checker only if no unit test fails,
since the unit tests take milliseconds.
"""

import ast
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

from assistance.domain import record, takes, transitions
from tests.model.core import core_of
from tests.model.mistakes import changed
from tests.model.walk import walk
from tests.model.worlds import EFFECTS, SMALL
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
    """A mutant, the unit test that detects it, and the world in which the model checker detects it, or None."""

    mutant: str
    test: str | None
    world: str | None


def noticed(mutant: Mutant, *, by_both: bool) -> Noticed:
    """Return the first unit test and the first world that detect it. Unless `by_both`, a test is enough."""
    module = {"record": record, "takes": takes, "transitions": transitions}[mutant.module]
    with changed(module, mutant.source) as core:
        test = _failing_test(core)
        return Noticed(str(mutant), test, None if test and not by_both else _failing_world(core))


def _failing_world(core: ModuleType) -> str | None:
    """The name of the first small world in which the functions of `core` break a promise; None if there is none."""
    for name, start in SMALL.items():
        try:
            found = walk(start, core=core, most=200_000, effects=EFFECTS)
        except Exception:  # noqa: BLE001 # a function that can't run is noticed
            return name
        if found.wrong or not found.complete:
            return name
    return None


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


def results(functions: Collection[str] = (), *, by_both: bool = False) -> Iterator[Noticed]:
    """Yield what detects each mutant of the domain, or of these functions. `by_both`: as for `noticed`."""
    with ProcessPoolExecutor() as pool:
        yield from pool.map(partial(noticed, by_both=by_both), mutants_of(functions))


if __name__ == "__main__":
    count = Counter[str]()
    for each in results(sys.argv[1:], by_both=True):
        count.update({"mutants": 1, "no test": each.test is None, "no world": each.world is None})
        sys.stdout.write(f"{each.test or 'NO TEST'} | {each.world or 'NO WORLD'} | {each.mutant}\n")
        sys.stdout.flush()
    sys.stdout.write(
        f"{count['mutants']} mutants; {count['no test']} without a test, {count['no world']} without a world\n"
    )
