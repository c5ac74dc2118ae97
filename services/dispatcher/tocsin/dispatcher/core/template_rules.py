"""What a template may hold: a list of what is allowed, walked over the syntax tree before anything is compiled.

Everything else is refused, so that no template can burn time or memory: `'a' * 200000000` does so while compiling,
`ljust` and `format` while rendering, and a sandbox bounds neither.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field

from jinja2 import nodes

from tocsin.dispatcher.core.variables import VARIABLES

MAX_INTEGER = 1_000
MAX_LITERAL = 4_096
MAX_ARGUMENT = 100
MAX_DEPTH = 40
MAX_FILTERS = 5  # in one expression
MAX_NODES = 2_000  # of the syntax tree, text apart: more takes longer to compile than anyone would wait

FILTERS = frozenset({"upper", "lower", "title", "capitalize", "trim", "length", "count", "truncate", "default", "d"})
GROWING_FILTERS = frozenset({"replace", "join", "tojson", "e", "escape", "mrkdwn", "urlencode"})
"""Each may make a text longer, by a bounded factor; two in a row would multiply, so one an expression."""

TESTS = frozenset({"defined", "undefined", "none", "string", "number", "boolean", "true", "false", "even", "odd"}) | {
    "equalto",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "in",
    "divisibleby",
}
LOOP_ATTRIBUTES = frozenset({"index", "index0", "first", "last", "length"})

_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.Name, nodes.Const,
    nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.Add,
    nodes.Sub, nodes.Div, nodes.FloorDiv, nodes.Concat, nodes.Filter, nodes.Test, nodes.Call, nodes.Getattr,
)  # fmt: skip

_WORDS: dict[type[nodes.Node], str] = {
    nodes.Mul: "`*`",
    nodes.Pow: "`**`",
    nodes.Mod: "`%`",
    nodes.Macro: "macros",
    nodes.CallBlock: "call blocks",
    nodes.Import: "imports",
    nodes.FromImport: "imports",
    nodes.Include: "includes",
    nodes.Extends: "extends",
    nodes.Block: "blocks",
    nodes.FilterBlock: "filter blocks",
    nodes.AssignBlock: "set blocks",
    nodes.With: "with blocks",
    nodes.Getitem: "`[...]`",
    nodes.List: "lists",
    nodes.Tuple: "tuples",
    nodes.Dict: "dictionaries",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not stand in a template."""

    line: int
    text: str


@dataclass
class _Walk:
    findings: list[Finding] = field(default_factory=list)
    assigned: set[str] = field(default_factory=set)

    def refuse(self, node: nodes.Node, text: str) -> None:
        self.findings.append(Finding(node.lineno or 1, text))


def find_problems(tree: nodes.Template) -> list[Finding]:
    """In source order."""
    walk = _Walk()
    if (size := sum(1 for node in tree.find_all(nodes.Node) if not isinstance(node, nodes.TemplateData))) > MAX_NODES:
        return [Finding(1, f"the template has {size} parts (prints, conditions, …); at most {MAX_NODES} are allowed")]
    walk.assigned = {name.name for assign in tree.find_all(nodes.Assign) for name in assign.find_all(nodes.Name)
                     if name.ctx == "store"}  # fmt: skip
    _visit(walk, tree, frozenset(VARIABLES) | walk.assigned, in_loop=False, depth=0)
    for expression in _expressions(tree):
        _check_filters(walk, expression)
    return sorted(set(walk.findings), key=lambda finding: (finding.line, finding.text))


def _visit(walk: _Walk, node: nodes.Node, known: frozenset[str], *, in_loop: bool, depth: int) -> None:
    if depth > MAX_DEPTH:
        walk.refuse(node, f"is nested deeper than {MAX_DEPTH}")
        return
    if not isinstance(node, _ALLOWED):
        what = _WORDS.get(type(node), type(node).__name__.lower())
        walk.refuse(node, f"{what} may not stand in a body template")
        return
    if isinstance(node, nodes.For):
        known = _check_for(walk, node, known, in_loop=in_loop)
        in_loop = True
    _check_node(walk, node, known, in_loop=in_loop)
    if isinstance(node, nodes.Call):
        known |= {"range"}
    for child in node.iter_child_nodes():
        _visit(walk, child, known, in_loop=in_loop, depth=depth + 1)


def _check_node(walk: _Walk, node: nodes.Node, known: frozenset[str], *, in_loop: bool) -> None:
    match node:
        case nodes.Assign():
            _check_assign(walk, node)
        case nodes.Name() if node.ctx == "load":
            _check_name(walk, node, known)
        case nodes.Const():
            _check_const(walk, node)
        case nodes.Filter():
            _check_word(walk, node, "filter", FILTERS | GROWING_FILTERS)
        case nodes.Test():
            _check_word(walk, node, "test", TESTS)
        case nodes.Call():
            _check_call(walk, node)
        case nodes.Getattr():
            _check_attribute(walk, node, in_loop=in_loop)


def _check_for(walk: _Walk, node: nodes.For, known: frozenset[str], *, in_loop: bool) -> frozenset[str]:
    if in_loop:
        walk.refuse(node, "a loop may not stand in a loop")
    if node.recursive:
        walk.refuse(node, "recursive loops may not stand in a body template")
    if not isinstance(node.target, nodes.Name):
        walk.refuse(node, "a loop has one name, as in `{% for letter in notificationName %}`")
        return known
    return known | {node.target.name, "loop"}


def _check_assign(walk: _Walk, node: nodes.Assign) -> None:
    if not isinstance(node.target, nodes.Name):
        walk.refuse(node, "`set` has one name")
    used = {name.name for name in node.node.find_all(nodes.Name)} | (
        {node.node.name} if isinstance(node.node, nodes.Name) else set()
    )
    # `{% set x = x ~ x %}` doubles x each time it stands there.
    if used & walk.assigned:
        walk.refuse(node, "a name that is set may not be made from another name that is set")


def _check_name(walk: _Walk, node: nodes.Name, known: frozenset[str]) -> None:
    if node.name not in known:
        walk.refuse(node, f"there is no variable {node.name[:64]!r}{_nearest(node.name, frozenset(VARIABLES), 0.0)}")


def _check_const(walk: _Walk, node: nodes.Const) -> None:
    match node.value:
        case bool() | None:
            pass
        case int() | float() as number if not abs(number) <= MAX_INTEGER:
            walk.refuse(node, f"a number in a template is at most {MAX_INTEGER}")
        case str() as text if len(text) > MAX_LITERAL:
            walk.refuse(node, f"a text in a template has at most {MAX_LITERAL} characters")


def _check_call(walk: _Walk, node: nodes.Call) -> None:
    plain = (
        isinstance(node.node, nodes.Name)
        and node.node.name == "range"
        and len(node.args) == 1
        and isinstance(node.args[0], nodes.Const)
        and not (node.kwargs or node.dyn_args or node.dyn_kwargs)
    )
    if not plain:
        walk.refuse(node, "nothing may be called in a body template but `range` with one number")


def _check_attribute(walk: _Walk, node: nodes.Getattr, *, in_loop: bool) -> None:
    of_loop = in_loop and isinstance(node.node, nodes.Name) and node.node.name == "loop"
    if not (of_loop and node.attr in LOOP_ATTRIBUTES):
        walk.refuse(node, f"`.{node.attr[:64]}` may not stand in a body template: variables have no parts")


def _check_word(walk: _Walk, node: nodes.Filter | nodes.Test, what: str, known: frozenset[str]) -> None:
    if node.name not in known:
        walk.refuse(node, f"there is no {what} {node.name[:64]!r} here{_nearest(node.name, known)}")


def _nearest(name: str, known: frozenset[str], cutoff: float = 0.5) -> str:
    folded = {one.lower(): one for one in sorted(known)}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=cutoff)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def _expressions(tree: nodes.Template) -> Iterator[nodes.Expr]:
    """The outermost expressions: each print, each condition, each assigned value."""
    stack: list[nodes.Node] = [tree]
    while stack:
        node = stack.pop()
        for child in node.iter_child_nodes():
            if isinstance(child, nodes.Expr) and not isinstance(child, nodes.TemplateData):
                yield child
            else:
                stack.append(child)


def _check_filters(walk: _Walk, expression: nodes.Expr) -> None:
    found = list(expression.find_all(nodes.Filter)) + ([expression] if isinstance(expression, nodes.Filter) else [])
    if len(found) > MAX_FILTERS:
        walk.refuse(expression, f"an expression has at most {MAX_FILTERS} filters")
    if sum(one.name in GROWING_FILTERS for one in found) > 1:
        walk.refuse(expression, f"an expression has at most one of {', '.join(sorted(GROWING_FILTERS))}")
    for one in found:
        if one.node is None or one.kwargs or one.dyn_args or one.dyn_kwargs:
            walk.refuse(one, f"the filter {one.name!r} takes plain arguments only")
        for argument in one.args:
            if not isinstance(argument, nodes.Const):
                walk.refuse(one, f"the filter {one.name!r} takes literal arguments only")
            elif isinstance(argument.value, str) and len(argument.value) > MAX_ARGUMENT:
                walk.refuse(one, f"an argument of the filter {one.name!r} has at most {MAX_ARGUMENT} characters")
