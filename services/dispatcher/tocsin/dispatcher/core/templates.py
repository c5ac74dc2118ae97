"""Body templates: Jinja2 with SysTrack's delimiters, bounded in every direction. Pure.

1. The source is parsed (nothing is evaluated), and its tree checked against what is allowed: template_rules.py.
2. Every print gets an escape that fits the place it stands in: in a JSON body, whether it is inside quotes is known
   from the text before it.
3. Only then it is compiled, with folding of constants off, and rendered with a budget of work and size.

Most templates only print variables into text: those are kept as their parts, and joined in a fraction of the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import jinja2
from jinja2 import nodes
from jinja2.sandbox import SandboxedEnvironment

from tocsin.dispatcher.core.template_filters import (
    BUDGET,
    FILTER_TABLE,
    NUMBER_TESTS,
    STEP_WORK,
    Budget,
    TooMuchWorkError,
)
from tocsin.dispatcher.core.template_rules import Finding, find_problems
from tocsin.dispatcher.core.variables import DEFAULT_BODY, SAMPLES, VARIABLES, Values
from tocsin.shared.errors import TocsinError

__all__ = ["DEFAULT_BODY", "TemplateError", "check_template", "render"]

MAX_SOURCE_BYTES = 8 * 1024
MAX_RENDERED_BYTES = 100_000
"""Qualtrics takes at most 100 KB; read as the smaller of its two meanings."""

Mode = Literal["json", "html", "text"]


class TemplateError(TocsinError):
    """A template that cannot be used. Holds the problems, one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


@lru_cache(maxsize=1024)
def mode_of(content_type: str) -> Mode:
    """How values are escaped in a body of this type."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return "json"
    return "html" if kind in ("text/html", "application/xhtml+xml") else "text"


def check_template(source: str, content_type: str = "application/json") -> list[str]:
    """What is wrong with a template, readable, with lines; an empty list when it may be saved."""
    mode = mode_of(content_type)
    try:
        compiled = compile_template(source, mode)
    except TemplateError as error:
        return error.problems
    for sample in SAMPLES:
        try:
            text = _run(compiled, sample)
        except TemplateError as error:
            return error.problems
        if mode == "json" and (problem := _json_problem(text)):
            return [problem]
    return []


def render(source: str, content_type: str, values: Values) -> str:
    """Raises TemplateError."""
    return _run(compile_template(source, mode_of(content_type)), values)


def _json_problem(text: str) -> str | None:
    def no_constant(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    try:
        json.loads(text, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        line = error.doc.split("\n")[error.lineno - 1]
        near = line[max(0, error.colno - 16) : error.colno + 15].strip()
        return (
            f"the result is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno} of the result, "
            f"near {near!r} (values outside quotes are printed as JSON, with their own quotes)"
        )
    except (ValueError, RecursionError) as error:
        return f"the result is not valid JSON: {error}"
    return None


def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        variable_start_string="@{",
        variable_end_string="}",
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # escaping fits the place: see _Escaper
        keep_trailing_newline=True,
        optimized=False,  # folding constants is where a bomb goes off while compiling
        cache_size=0,
    )
    environment.filters.clear()
    environment.filters.update(FILTER_TABLE)
    environment.tests.update(NUMBER_TESTS)
    environment.globals.clear()
    environment.globals["range"] = range
    return environment


_ENVIRONMENT = _environment()


@dataclass(frozen=True, slots=True)
class Plain:
    """A template of nothing but text and prints of variables: texts, and names with the escapes of their places."""

    parts: tuple[str | tuple[str, Callable[[Any], str]], ...]


Compiled = Plain | jinja2.Template


@lru_cache(maxsize=1024)
def compile_template(source: str, mode: Mode) -> Compiled:
    """Raises TemplateError with everything that is wrong. The same template is compiled once."""
    if (size := len(source.encode("utf-8", "surrogatepass"))) > MAX_SOURCE_BYTES:
        raise TemplateError([f"the template has {size} bytes; at most {MAX_SOURCE_BYTES} are allowed"])
    try:
        tree = _ENVIRONMENT.parse(source)
        findings = find_problems(tree)
        if not findings:
            escaper = _Escaper(mode)
            escaper.rewrite(tree)
            findings = escaper.findings
        if not findings:
            return _plain(tree) or _ENVIRONMENT.from_string(tree)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError([f"line {error.lineno}: {error.message}"]) from None
    except RecursionError:
        raise TemplateError(["the template is nested too deeply"]) from None
    except (ValueError, OverflowError, SyntaxError) as error:
        raise TemplateError([f"the template cannot be read: {error}"]) from None
    raise TemplateError([f"line {finding.line}: {finding.text}" for finding in findings])


def _plain(tree: nodes.Template) -> Plain | None:
    """What the escaper has left, if it is as simple as that."""
    parts: list[str | tuple[str, Callable[[Any], str]]] = []
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            return None
        for part in output.nodes:
            match part:
                case nodes.TemplateData():
                    parts.append(part.data)
                case nodes.Filter(node=nodes.Name(name=name), name=escape) if name in VARIABLES:
                    parts.append((name, FILTER_TABLE[escape]))
                case _:
                    return None
    return Plain(tuple(parts))


def _run(template: Compiled, values: Values) -> str:
    try:
        text = _join(template, values) if isinstance(template, Plain) else _bounded(_compiled(template, values))
    except TooMuchWorkError:
        raise TemplateError(["the template makes too much work: fewer loops, fewer filters"]) from None
    except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError, AttributeError, LookupError) as error:
        raise TemplateError([f"the template fails: {type(error).__name__}: {error}"]) from None
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        # A lone surrogate cannot be sent; everything else stays as it is.
        text = text.encode("utf-8", "replace").decode()
        size = len(text.encode())
    if size > MAX_RENDERED_BYTES:
        raise TemplateError([_too_large()])
    return text


def _join(plain: Plain, values: Values) -> str:
    found: list[str] = []
    size = 0
    for part in plain.parts:
        piece = part if isinstance(part, str) else part[1](values.value(part[0]))
        size += len(piece)
        if size > MAX_RENDERED_BYTES:
            raise TemplateError([_too_large()])
        found.append(piece)
    return "".join(found)


def _compiled(template: jinja2.Template, values: Values) -> Iterator[str]:
    context = template.new_context({**values.by_name, BUDGET: Budget()})
    return template.root_render_func(context)


def _bounded(pieces: Iterable[str]) -> str:
    found: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_RENDERED_BYTES:
            raise TemplateError([_too_large()])
        found.append(piece)
    return "".join(found)


def _too_large() -> str:
    return f"the result has more than {MAX_RENDERED_BYTES} bytes: link to lists instead of writing them out"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in JSON the text stands."""

    in_string: bool = False
    after_backslash: bool = False

    def after(self, text: str) -> _Place:
        in_string, after_backslash = self.in_string, self.after_backslash
        for letter in text:
            if after_backslash:
                after_backslash = False
            elif letter == '"':
                in_string = not in_string
            elif letter == "\\" and in_string:
                after_backslash = True
        return _Place(in_string, after_backslash)


class _Escaper:
    """Wraps each print in the escape of its place, and in a meter what loops and operators work on."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self.findings: list[Finding] = []

    def rewrite(self, tree: nodes.Template) -> None:
        for node in list(tree.find_all((nodes.Concat, nodes.Add, nodes.Compare, nodes.Operand, nodes.Test))):
            _meter(node)
        self._block(tree.body, _Place())

    def _block(self, body: Iterable[nodes.Node], place: _Place) -> _Place:
        for node in body:
            match node:
                case nodes.Output():
                    place = self._output(node, place)
                case nodes.If():
                    place = self._if(node, place)
                case nodes.For():
                    self._for(node, place)
        return place

    def _output(self, output: nodes.Output, place: _Place) -> _Place:
        for at, part in enumerate(output.nodes):
            if isinstance(part, nodes.TemplateData):
                place = place.after(part.data)
            else:
                output.nodes[at] = _filter(part, self._escape(place))
        return place

    def _escape(self, place: _Place) -> str:
        if self._mode == "json":
            return "_in_string" if place.in_string else "_json"
        return "_html" if self._mode == "html" else "_text"

    def _if(self, node: nodes.If, place: _Place) -> _Place:
        branches = (node.body, *(elif_.body for elif_ in node.elif_), node.else_)
        ends = [self._block(branch, place) for branch in branches]
        if self._mode == "json" and len(set(ends)) > 1:
            self._unbalanced(node, "an `if` must open and close the same quotes in each of its branches")
        return ends[0]

    def _for(self, node: nodes.For, place: _Place) -> None:
        ends = {self._block(node.body, place), self._block(node.else_, place)} | {place}
        weight = STEP_WORK * (1 + sum(1 for _ in node.find_all(nodes.Node)))
        node.iter = _filter(node.iter, "_loop", nodes.Const(weight, lineno=node.lineno))
        if self._mode == "json" and len(ends) > 1:
            self._unbalanced(node, "a loop must close the quotes it opens")

    def _unbalanced(self, node: nodes.Node, text: str) -> None:
        self.findings.append(Finding(node.lineno or 1, text))


def _meter(node: nodes.Node) -> None:
    match node:
        case nodes.Concat():
            node.nodes = [_filter(one, "_spend") for one in node.nodes]
        case nodes.Add():
            node.left, node.right = _filter(node.left, "_spend"), _filter(node.right, "_spend")
        case nodes.Compare() | nodes.Operand():
            node.expr = _filter(node.expr, "_spend")
        case nodes.Test():
            node.node = _filter(node.node, "_spend")
            node.args = [_filter(one, "_spend") for one in node.args]


def _filter(node: Any, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    wrapped = nodes.Filter(node, name, list(arguments), [], None, None, lineno=node.lineno)
    wrapped.environment = _ENVIRONMENT
    for argument in arguments:
        argument.environment = _ENVIRONMENT
    return wrapped
