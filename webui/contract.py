"""The contract of the API: an operation says what it takes and gives; routes, checks and document follow from it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from matcher.errors import CalqueError
from webui.problems import Refusal, problem_response, refusal_of
from webui.shapes import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from starlette.types import Receive, Scope, Send

    from webui.server import Server

__all__ = ["Call", "Operation", "document", "routes_of", "streamed"]

_LARGEST_BODY = 64 << 10
"""Bytes of a JSON body; the largest that makes sense has some hundreds."""

_PATH_PARTS: dict[str, dict[str, Any]] = {
    "index": {"type": "string"},
    "image": {"type": "integer", "minimum": 0, "maximum": 2**62},
    "number": {"type": "integer", "minimum": 1, "maximum": 2**31},
    "member": {"type": "integer", "minimum": 0, "maximum": 2**31},
    "judgement": {"type": "integer", "minimum": 0, "maximum": 2**62},
    "upload": {"type": "string", "pattern": "^[A-Za-z0-9_-]{20,64}$"},
    "job": {"type": "string", "pattern": "^[A-Za-z0-9_-]{8,64}$"},
    "picture": {"type": "string", "enum": ["a", "b", "overlay", "difference", "proof"]},
    "region": {"type": "string", "pattern": "^(full|square|[0-9]{1,6}(,[0-9]{1,6}){3})$"},
    "size": {"type": "string", "pattern": "^(max|!?[1-9][0-9]{0,3},[1-9][0-9]{0,3})$"},
    "rotation": {"type": "string", "pattern": "^!?(0|90|180|270)$"},
    "quality": {"type": "string", "enum": ["default", "color", "gray", "bitonal"]},
    "format": {"type": "string", "enum": ["jpg", "png", "webp"]},
}
"""What each part of a path in braces is, wherever it stands; numbers are handed on as such."""

_MEANINGS = {
    400: "the request is not of the form described here",
    401: "a token is wanted",
    403: "not allowed: read-only, another site's page, a folder that may not be added",
    404: "there is no such thing",
    409: "another program is writing to the index",
    408: "the body did not come in time",
    413: "too large",
    414: "the address is too long",
    415: "no image that can be read",
    421: "not a name of this server",
    422: "well formed, but it cannot be done: a region beside the image, a condition that means nothing",
    429: "too many requests from one client",
    503: "too much to do",
}
_NO_MORE = {"additionalProperties": False}
_ANYWHERE = (400, 401, 403, 414, 421, 429, 503)


@dataclass(frozen=True, slots=True)
class Call:
    """One request that is being answered: the server, the parts of its path, who asks."""

    server: Server
    request: Request
    path: dict[str, Any]

    @property
    def index(self) -> str:
        """The name of the index in the path."""
        return str(self.path["index"])

    @property
    def owner(self) -> str:
        """Who asks: whose uploads these are. Empty for a browser that has uploaded nothing yet."""
        return str(self.request.state.owner)

    @staticmethod
    def json(answer: msgspec.Struct, status: int = 200) -> Response:
        """Return an answer as a response, for who has to add to it."""
        return Response(msgspec.json.encode(answer), status, media_type="application/json")

    @property
    def user(self) -> str | None:
        """The name of who asks, where a proxy tells it."""
        user: str | None = self.request.state.user
        return user


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked of the server.

    Attributes
    ----------
    method, path : str
        Parts of the path in braces are described in this module, once for all.
    handler : callable
        Called with a `Call`, and with ``query=`` and ``body=`` where these are described; returns the answer, or a
        response of Starlette's.
    summary : str
    query, body : type, optional
        Structures of `webui.shapes`.
    answer : type or str
        A structure, or the media type of what is no JSON; empty for none.
    status : int
        Of a good answer.
    refusals : tuple of int
        Statuses besides those that anything may have.
    writes : bool
        Whether a read-only server refuses it.
    raw : tuple of str
        Media types of a body that the handler reads by itself.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    handler: Callable[..., Awaitable[Any]]
    summary: str
    answer: type[msgspec.Struct] | str
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    status: int = 200
    refusals: tuple[int, ...] = ()
    writes: bool = False
    raw: tuple[str, ...] = ()
    listed: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        names: set[str] = set()
        if self.query is not None:
            described = msgspec.inspect.type_info(self.query)
            assert isinstance(described, msgspec.inspect.StructType)
            names = {
                known.encode_name for known in described.fields if isinstance(known.type, msgspec.inspect.ListType)
            }
        object.__setattr__(self, "listed", frozenset(names))

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        server: Server = request.app.state.server
        try:
            if self.writes and server.options.read_only:
                raise Refusal(403, "this server is read-only")
            call = Call(server, request, _path_parts(request.path_params))
            arguments: dict[str, Any] = {}
            given = request.query_params.multi_items()
            if self.query is not None:
                arguments["query"] = self._asked(given)
            elif given:
                raise Refusal(400, f"there is no parameter {given[0][0]!r} here")
            if self.body is not None:
                arguments["body"] = await _read_body(request, self.body)
            answer = await self.handler(call, **arguments)
        except Refusal as refusal:
            return problem_response(refusal)
        except CalqueError as error:
            return problem_response(refusal_of(error))
        if isinstance(answer, Response):
            return answer
        return Response(status_code=self.status) if answer is None else Call.json(answer, self.status)

    def _asked(self, given: Sequence[tuple[str, str]]) -> Any:
        values: dict[str, Any] = {}
        for name, value in given:
            if name in self.listed:
                values.setdefault(name, []).append(value)
            elif name in values:
                raise Refusal(400, f"{name} is given more than once")
            else:
                values[name] = value
            if value == "null":  # which would be taken for none at all
                raise Refusal(400, f"the address: {name} is null; leave it out")
        try:
            return msgspec.convert(values, self.query, strict=False)
        except msgspec.ValidationError as error:
            raise Refusal(400, f"the address: {error}") from error


def routes_of(operations: Sequence[Operation]) -> list[Route]:
    """Return the routes that lead to operations, one for each path, in their order."""
    return [
        _route([one for one in operations if one.path == path]) for path in dict.fromkeys(o.path for o in operations)
    ]


def _route(operations: Sequence[Operation]) -> Route:
    return Route(operations[0].path, _Resource({operation.method: operation for operation in operations}))


class _Resource:
    """ASGI application of one path: hands a request to the operation of its method."""

    def __init__(self, operations: dict[str, Operation]) -> None:
        self._operations = operations
        self._allowed = ", ".join([*operations, *(["HEAD"] if "GET" in operations else [])])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        operation = self._operations.get("GET" if request.method == "HEAD" else request.method)
        if operation is None:
            refusal = Refusal(405, f"{request.method} is not for {request.url.path}", {"Allow": self._allowed})
            await problem_response(refusal)(scope, receive, send)
            return
        await (await operation(request))(scope, receive, send)


async def streamed(request: Request, most: int, seconds: float) -> AsyncGenerator[bytes, None]:
    """Yield the body of a request, as long as it is not too large and comes within `seconds`.

    Raises
    ------
    Refusal
        413, or 408 for who is too slow.
    """
    told = request.headers.get("content-length", "")
    too_large = Refusal(413, f"more than {most:,} bytes", {"Connection": "close"})
    if told.isdecimal() and int(told) > most:
        raise too_large
    size = 0
    chunks = request.stream()
    end = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            async with asyncio.timeout_at(end):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            slow = f"the body took more than {seconds:.0f} s to come"
            raise Refusal(408, slow, {"Connection": "close"}) from error
        if chunk is None:
            return
        size += len(chunk)
        if size > most:
            raise too_large
        yield chunk


async def _read_body(request: Request, shape: type[msgspec.Struct]) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, f"the body is {kind or 'of no kind'}; send application/json")
    seconds = request.app.state.server.options.upload_seconds
    content = b"".join([chunk async for chunk in streamed(request, _LARGEST_BODY, seconds)])
    try:
        return msgspec.convert(_whole(msgspec.json.decode(content)), shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the body: {error}") from error


def _whole(value: Any) -> Any:
    """Return a JSON value with numbers such as 12.0 as the integers that they are."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return {key: _whole(item) for key, item in value.items()} if isinstance(value, dict) else value


def _path_parts(given: dict[str, str]) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for name, text in given.items():
        described = _PATH_PARTS[name]
        if described["type"] == "string":
            if text not in described.get("enum", (text,)):
                raise Refusal(404, f"no {name} {text!r}; there are {', '.join(described['enum'])}")
            parts[name] = text
            continue
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
        if not described["minimum"] <= number <= described["maximum"]:
            raise Refusal(404, f"no {name} {text!r}: it is a number from {described['minimum']}")
        parts[name] = number
    return parts


def document(operations: Sequence[Operation], version: str, indexes: Sequence[str]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of operations, on indexes of these names."""
    path_parts = {**_PATH_PARTS, "index": {"type": "string", "enum": list(indexes)}}
    shapes: set[type[msgspec.Struct]] = {Problem}
    for operation in operations:
        shapes |= {shape for shape in (operation.body, operation.answer, operation.query) if isinstance(shape, type)}
    ordered = sorted(shapes, key=lambda shape: shape.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, schemas, path_parts)
    for shape in {operation.query for operation in operations if operation.query is not None}:
        schemas.pop(shape.__name__, None)  # they are told parameter by parameter
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "calque",
            "version": version,
            "description": "Find a picture again in collections of scans. docs/web.md explains it in words.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _described(operation: Operation, schemas: dict[str, Any], path_parts: dict[str, Any]) -> dict[str, Any]:
    parts = [part.partition("}")[0] for part in operation.path.split("{")[1:]]
    parameters = [{"name": part, "in": "path", "required": True, "schema": path_parts[part]} for part in parts]
    if operation.query is not None:
        shape = schemas[operation.query.__name__]
        parameters += [
            {"name": name, "in": "query", "required": name in shape["required"], "schema": _without_null(schema)}
            for name, schema in shape["properties"].items()
        ]
    refusals = {*_ANYWHERE, *operation.refusals, *([404] if parts else [])}
    if operation.body is not None or operation.raw:
        refusals |= {408, 413, 415}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses: dict[str, Any] = {
        str(status): {"description": _MEANINGS.get(status, "refused"), "content": problem}
        for status in sorted(refusals)
    }
    good: dict[str, Any] = {"description": "as asked"}
    if isinstance(operation.answer, type):
        schema = {"$ref": f"#/components/schemas/{operation.answer.__name__}"}
        good["content"] = {"application/json": {"schema": schema}}
    elif operation.answer:
        good["content"] = {kind.strip(): {} for kind in operation.answer.split(",")}
    described: dict[str, Any] = {
        "operationId": _name(operation),
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {str(operation.status): good, **responses},
    }
    if operation.body is not None:
        schema = {"$ref": f"#/components/schemas/{operation.body.__name__}"}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    elif operation.raw:
        described["requestBody"] = {"required": True, "content": {kind: _raw(kind) for kind in operation.raw}}
    return described


def _raw(kind: str) -> dict[str, Any]:
    if kind != "multipart/form-data":
        return {}
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    return {"schema": {"type": "object", "properties": {"file": file}, "required": ["file"], **_NO_MORE}}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter, which may be left out but has no way to say null."""
    kept = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    if "anyOf" in schema:
        (kept,) = (choice for choice in schema["anyOf"] if choice != {"type": "null"})
    elif schema.get("default") is not None:
        kept["default"] = schema["default"]
    return kept


def _name(operation: Operation) -> str:
    return str(getattr(operation.handler, "__name__", operation.path))
