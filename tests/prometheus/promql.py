"""Which metrics and labels a query of Prometheus asks for, by a parser of its language.

A label that a metric does not have is no error to Prometheus: the query just finds nothing, and an alert
never fires. So every label that a query matches, groups by or joins on is looked up in what a scrape has.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Call,
    LabelModifierType,
    Matcher,
    MatchOp,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorMatchCardinality,
    VectorSelector,
    parse,
)

Labels: TypeAlias = frozenset[str]
Series: TypeAlias = Mapping[str, str]  # labels and their values
OF_TARGETS = {"job": "balancer", "instance": "127.0.0.1:9901"}  # Prometheus adds these
NAMES = frozenset(["job", "instance", "route", "pool", "upstream", "listener", "worker", "source", "name"])
_WITHOUT_LABELS = frozenset(["time", "vector", "scalar", "pi", "hour", "minute", "month", "year"])
_SETS = frozenset(["and", "or", "unless"])


class Known:
    """What there is to ask for, by the name of the metric."""

    def __init__(self, series: Mapping[str, Iterable[Series]]) -> None:
        self._series: dict[str, list[Series]] = {
            name: [{**OF_TARGETS, **one} for one in found] for name, found in series.items()
        }

    def record(self, name: str, labels: Labels) -> None:
        """A rule makes this series."""
        self._series[name] = [dict.fromkeys(labels, "")]

    def names(self) -> frozenset[str]:
        """All metrics."""
        return frozenset(self._series)

    def problems(self, query: str) -> tuple[list[str], Labels]:
        """What the query asks for that is not there, and the labels of its result."""
        found = _Query(self._series)
        labels = found.of(parse(query))
        return found.problems, labels


class _Query:
    def __init__(self, series: Mapping[str, list[Series]]) -> None:
        self._series = series
        self.problems: list[str] = []

    def of(self, expression: object) -> Labels:
        """The labels of its result; what is wrong below it is noted."""
        match expression:
            case VectorSelector():
                return self._selected(expression)
            case MatrixSelector():
                return self._selected(expression.vector_selector)
            case ParenExpr() | UnaryExpr() | SubqueryExpr():
                return self.of(expression.expr)
            case AggregateExpr():
                return self._aggregated(expression)
            case BinaryExpr():
                return self._joined(expression)
            case Call():
                return self._called(expression)
            case NumberLiteral() | StringLiteral():
                return frozenset()
        raise NotImplementedError(type(expression).__name__)

    def _selected(self, selector: VectorSelector) -> Labels:
        name = selector.name or ""
        if name not in self._series:
            self.problems.append(f"there is no metric {name or selector}")
            return frozenset()
        series = self._series[name]
        labels = frozenset(label for one in series for label in one)
        for matcher in selector.matchers.matchers:
            if matcher.name not in labels:
                self.problems.append(f"{name} has no label {matcher.name}")
        closed = [one for one in selector.matchers.matchers if one.name in labels - NAMES]
        if closed and not any(
            all(_matches(one, each.get(one.name, "")) for one in closed) for each in series
        ):
            self.problems.append(f"no series is {selector.prettify()}")
        return labels

    def _aggregated(self, aggregate: AggregateExpr) -> Labels:
        inner = self.of(aggregate.expr)
        if aggregate.modifier is None:
            return frozenset()
        named = frozenset(aggregate.modifier.labels)
        if unknown := named - inner:
            self.problems.append(f"{sorted(unknown)} is in no label of {aggregate.expr.prettify()}")
        return named if aggregate.modifier.type == AggModifierType.By else inner - named

    def _joined(self, binary: BinaryExpr) -> Labels:
        left, right = self.of(binary.lhs), self.of(binary.rhs)
        if _is_number(binary.lhs) or _is_number(binary.rhs):
            return left | right
        modifier = binary.modifier
        matching = None if modifier is None else modifier.matching
        if matching is None:
            if left != right and str(binary.op) != "or":
                self.problems.append(f"{sorted(left ^ right)} is on one side only of {binary.prettify()}")
            return left
        named = frozenset(matching.labels)
        if unknown := named - (left & right):
            self.problems.append(f"{sorted(unknown)} is not on both sides of {binary.prettify()}")
        if str(binary.op) in _SETS or modifier is None:
            return left
        if modifier.card == VectorMatchCardinality.ManyToOne:
            return left | frozenset(modifier.group_labels or ())
        if modifier.card == VectorMatchCardinality.OneToMany:
            return right | frozenset(modifier.group_labels or ())
        return named if matching.type == LabelModifierType.Include else left - named

    def _called(self, call: Call) -> Labels:
        labels = frozenset[str]().union(*(self.of(each) for each in call.args))
        if call.func.name in _WITHOUT_LABELS or call.func.name.startswith("absent"):
            return frozenset()
        if call.func.name == "histogram_quantile":
            return labels - {"le"}
        if call.func.name in ("label_replace", "label_join"):
            return labels | {call.args[1].val}
        return labels


def _matches(matcher: Matcher, value: str) -> bool:
    if matcher.op in (MatchOp.Equal, MatchOp.NotEqual):
        is_it = value == matcher.value
    else:
        is_it = re.fullmatch(matcher.value, value) is not None
    return is_it == (matcher.op in (MatchOp.Equal, MatchOp.Re))


def _is_number(expression: object) -> bool:
    """Whether it is a scalar: it joins with everything."""
    match expression:
        case NumberLiteral():
            return True
        case ParenExpr() | UnaryExpr():
            return _is_number(expression.expr)
        case Call():
            return expression.func.name in _WITHOUT_LABELS - {"vector"}
        case BinaryExpr():
            return _is_number(expression.lhs) and _is_number(expression.rhs)
    return False


def queries(block: str) -> Iterator[str]:
    """Those of a block in the docs: each begins at the begin of a line; indented lines and brackets go on."""
    yield from re.split(r"\n(?=[^\s)])", block.strip())
