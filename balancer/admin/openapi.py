"""`/api/openapi.json` (L6): the OpenAPI 3.1 document, made from the table of operations."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
import orjson
from aiohttp import web

from balancer import __version__
from balancer.admin.bodies import Body
from balancer.admin.changing import IF_MATCH, LONGEST_NAME, OPERATOR, TAGS
from balancer.admin.guard import JSON
from balancer.admin.operation import Operation
from balancer.admin.replies import ALSO, Refusal, Stale

_REF = "#/components/schemas/{name}"
_VARIABLE = re.compile(r"{(\w+)}")
# The refusals that need no words of their own, by status.
_REFUSALS = {
    400: "The request cannot be understood",
    401: "It needs the ADMIN_TOKEN",
    403: "It asks for another host, or may not make changes",
    404: "It names something that does not exist; for DELETE, with `result` gone, that is done",
    408: "The body did not arrive in time",
    409: "The change is not possible",
    412: "Operators have changed something since",
    413: "The body is too long",
    415: "The body is not JSON",
    503: "The program is being replaced; ask again in a moment",
    508: "It has come through this balancer itself",
}
_OF_ALL = (400, 403, 508)
_OF_CHANGES = (401, 408, 412, 413, 415, 503)
_DESCRIPTION = """\
State and changes of a running balancer. Every change may be repeated: it answers with what is now. ETag is
the revision of what operators have set, and If-Match makes a change only if that is still the present one."""
_TAG = {"ETag": {"description": "The revision of what operators have set", "schema": {"type": "string"}}}
_TEXT = {"type": "string"}
_STALE = 412


class Document:
    """The document of `operations`; made when it is first asked for, as msgspec then reads all types."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations

    @cached_property
    def text(self) -> bytes:
        """It as JSON."""
        return orjson.dumps(document(self._operations), option=orjson.OPT_APPEND_NEWLINE)


DOCUMENT: web.AppKey[Document] = web.AppKey("document", Document)


async def show_document(request: web.Request) -> web.Response:
    """The document; it is the same as long as the instance runs."""
    return web.Response(body=request.app[DOCUMENT].text, content_type=JSON)


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI document of these operations."""
    schemas = _Schemas()
    for kind in ALSO:
        schemas.of(kind)
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _described(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "balancer", "version": __version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "ADMIN_TOKEN"}},
        },
    }


class _Schemas:
    """Makes the schemas of models, and keeps those that others refer to."""

    def __init__(self) -> None:
        self.components: dict[str, Any] = {}

    def of(self, kind: Any) -> Mapping[str, Any]:
        """The schema of a type."""
        (schema,), found = msgspec.json.schema_components((kind,), ref_template=_REF)
        for name, component in found.items():
            _complete(component)
            self.components[name] = component
        if isinstance(kind, type) and issubclass(kind, Body):
            found[kind.__name__]["minProperties"] = 1
        return schema


def _complete(component: dict[str, Any]) -> None:
    """Say what msgspec does not know: answers have all fields, also those with a default where they are
    made."""
    if "properties" not in component or component.get("additionalProperties") is False:  # no answer
        return
    component["required"] = list(component["properties"])
    for field in component["properties"].values():
        field.pop("default", None)


def _described(one: Operation, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.handler.__name__,
        "summary": one.says,
        "parameters": [*_parameters(one)],
        "responses": dict(_responses(one, schemas)),
    }
    if one.is_change:
        described["security"] = [{"token": []}, {}]
    if one.takes:
        forms = [schemas.of(form) for form in one.takes]
        schema = forms[0] if len(forms) == 1 else {"anyOf": forms}
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return described


def _parameters(one: Operation) -> Iterator[dict[str, Any]]:
    for name in _VARIABLE.findall(one.path):
        yield {"name": name, "in": "path", "required": True, "schema": _TEXT}
    for query in one.query:
        yield {"name": query.name, "in": "query", "description": query.says, "schema": query.schema}
    if one.is_change:
        tags = {"type": "string", "pattern": TAGS, "examples": ['"17"', "*"]}
        yield {"name": IF_MATCH, "in": "header", "description": "The ETag of an answer", "schema": tags}
        who = {"type": "string", "description": f"{LONGEST_NAME} characters of it are shown in events"}
        yield {
            "name": OPERATOR,
            "in": "header",
            "description": "Who asks, for the audit event",
            "schema": who,
        }


def _responses(one: Operation, schemas: _Schemas) -> Iterator[tuple[str, dict[str, Any]]]:
    for status, kind in {200: one.answers, **one.also}.items():
        answer: dict[str, Any] = {"description": one.says, "content": _content(one, kind, schemas)}
        if one.is_conditional:
            answer["headers"] = _TAG
        yield str(status), answer
    refusals = {*_OF_ALL, *one.refuses, *(_OF_CHANGES if one.is_change else ())}
    if _VARIABLE.search(one.path):
        refusals.add(404)
    for status in sorted(refusals):
        content = {JSON: {"schema": schemas.of(Stale if status == _STALE else Refusal)}}
        yield str(status), {"description": _REFUSALS[status], "content": content}


def _content(one: Operation, kind: Any, schemas: _Schemas) -> dict[str, Any]:
    if isinstance(kind, str):
        return {kind: {"schema": _TEXT}}
    content: dict[str, Any] = {JSON: {"schema": schemas.of(kind)}}
    return content | {form: {"schema": {"type": "object"}} for form in one.or_else}
