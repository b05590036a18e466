"""A YAML settings file as text (L1): every plain scalar stays as it is written, as in the environment.

YAML 1.1 silently reads `010` as 8, `1_0` as 10, `1:30` as 90, `no` as false and `2024-01-01` as a date. Here
they stay text, and the setting's own type parses them. Only `policy_options`, whose types a policy declares,
are read as numbers and booleans (`typed`).
"""

import re
from collections.abc import Callable
from typing import Any, ClassVar

import yaml


class Scalar(str):
    """The text as written, and its value if types are needed (`typed`)."""

    __slots__ = ("meaning",)
    meaning: int | float | bool

    def __new__(cls, text: str, meaning: int | float | bool) -> "Scalar":
        made = super().__new__(cls, text)
        made.meaning = meaning
        return made


def typed(value: object) -> object:
    """`value` with numbers and booleans where they are written without quotes."""
    if isinstance(value, Scalar):
        return value.meaning
    if isinstance(value, dict):
        return {key: typed(each) for key, each in value.items()}
    return [typed(each) for each in value] if isinstance(value, list) else value


def read_yaml(content: bytes) -> Any:
    """The tree of a settings file. Raises ValueError with what is wrong, where, and what to do about it."""
    try:
        return yaml.load(content, _Loader)
    except yaml.MarkedYAMLError as error:
        mark, problem, remedy = _explained(error)
        line = f", line {mark.line + 1}" if mark else ""
        raise ValueError(f"{line}: is not valid YAML ({problem}); {remedy}") from None
    except RecursionError:
        raise ValueError(": is not valid YAML (it nests too deeply); settings are two levels deep") from None
    except (yaml.YAMLError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f": is not valid YAML ({reason}); it must be plain UTF-8 text") from None


class _Loader(yaml.SafeLoader):
    """YAML that refuses duplicate keys in a mapping, of which PyYAML would silently take the last, and values
    that contain themselves."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # a variable of instances in the stubs
    yaml_constructors: ClassVar[dict[Any, Any]] = {
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in (None, *(f"tag:yaml.org,2002:{name}" for name in ("null", "str", "seq", "map")))
    }

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.deep_construct = True  # else an alias could refer to the value that contains it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value != "<<":
                if key_node.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key_node.value} is given twice", key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_WORDS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_PLAIN: dict[str, tuple[str, str, Callable[[str], int | float | bool]]] = {
    "bool": (r"(?i:yes|no|true|false|on|off)", "yYnNtTfFoO", lambda text: _WORDS[text.lower()]),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789", int),
    "float": (r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?", "-+0123456789", float),
}


def _declare() -> None:
    for name, (pattern, first, meaning) in _PLAIN.items():
        tag, whole = f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z")
        _Loader.add_implicit_resolver(tag, whole, list(first))
        _Loader.add_constructor(tag, _constructor(whole, meaning))
    nothing = re.compile(r"(?:~|null|Null|NULL|)\Z")
    _Loader.add_implicit_resolver("tag:yaml.org,2002:null", nothing, ["~", "n", "N", ""])
    _Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<\Z"), ["<"])


def _constructor(
    whole: "re.Pattern[str]", meaning: Callable[[str], int | float | bool]
) -> Callable[[_Loader, Any], Scalar]:
    def construct(loader: _Loader, node: yaml.ScalarNode) -> Scalar:
        text = str(loader.construct_scalar(node))
        if whole.match(text) is None:
            raise yaml.constructor.ConstructorError(
                None, None, f"{text} is not what its tag {node.tag} says", node.start_mark
            )
        return Scalar(text, meaning(text))

    return construct


_declare()

# A part of the parser's message, and the remedy; the first match counts.
_REMEDIES: tuple[tuple[str, str], ...] = (
    ("is given twice", "keep one of them"),
    (r"character '\t'", "indent with spaces, not with tabs"),
    ("could not find expected ':'", "write name: value, with a space after the colon"),
    ("mapping values are not allowed", "put text with a colon and a space in it in quotes, and begin the "
     "lines of one group at the same column"),
    ("recursive", "an alias cannot stand for what it is in; put text that begins with * in quotes"),
    ("expected alphabetic or numeric", "it begins with * or &: put quotes around it, as in "
     "\"*.example.com=web\""),
    ("undefined alias", "put text that begins with * in quotes"),
    ("is not what its tag", "remove the tag"),
    ("constructor for the tag", "put text that begins with ! in quotes"),
    ("that cannot start any token", "put text that begins with this character in quotes"),
    ("unknown escape character", "use single quotes: in double ones a backslash begins an escape"),
    ("unexpected end of stream", "close the quotes that were opened here"),
    ("'<document start>', but found '<stream end>'", "put text that begins with % in quotes"),
    ("but got '?'", "in brackets, put text with a question mark in quotes"),
    ("but got '<stream end>'", "close the bracket that was opened here"),
    ("but found '<stream end>'", "something is missing at the end: a bracket, or the settings themselves"),
    ("another document", "a settings file is one document: remove the line ---"),
    ("expected '<document start>'", "a settings file is one document: remove what ends it before this line"),
    ("sequence entries are not allowed", "begin each item of a list on a line of its own"),
    ("but found ']'", "remove the bracket, or put text with brackets in quotes"),
    ("but found '}'", "remove the brace, or put text with braces in quotes"),
    ("but found ':'", "put text that begins with a bracket or a colon in quotes, as in \"[::1]:8000\""),
    ("but found '<scalar>'", "put the whole text in the quotes"),
    ("<block", "begin the lines of one group at the same column"),
)  # fmt: skip
_WHERE_OPENED = ("unexpected end of stream", "but got '<stream end>'")


def _explained(error: yaml.MarkedYAMLError) -> tuple[yaml.Mark | None, str, str]:
    problem = " ".join((error.problem or "it breaks off").split())
    remedy = next((remedy for part, remedy in _REMEDIES if part in problem), "correct this line")
    opened = any(part in problem for part in _WHERE_OPENED)
    mark = error.context_mark if opened and error.context_mark else error.problem_mark or error.context_mark
    return mark, problem, remedy
