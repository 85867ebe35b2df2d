"""How the server says no: every refusal is an HTTP status and a sentence that can be shown (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from matcher.errors import CalqueError, IndexBusy, InputError
from webui.shapes import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Refusal", "no_such", "plain", "problem_response", "refusal_of"]


class Refusal(Exception):
    """A request that is not answered: the HTTP status, why, and what to do about it."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def no_such(what: str, name: object, hint: str = "") -> Refusal:
    """Return the refusal of something that is not there."""
    return Refusal(404, f"no {what} {str(name)!r}{hint and f'; {hint}'}")


def refusal_of(error: CalqueError) -> Refusal:
    """Return the refusal that an error of calque comes down to."""
    if isinstance(error, IndexBusy):
        return Refusal(409, str(error), {"Retry-After": "10"})
    return Refusal(422 if isinstance(error, InputError) else 500, str(error))


def problem_response(refusal: Refusal) -> Response:
    """Return a refusal as ``application/problem+json``."""
    try:
        title = HTTPStatus(refusal.status).phrase
    except ValueError:
        title = "Error"
    content = msgspec.json.encode(Problem(title=title, status=refusal.status, detail=plain(refusal.detail)))
    return Response(content, refusal.status, refusal.headers, "application/problem+json")


def plain(text: str) -> str:
    """Return `text` as JSON can hold it: bytes of file names that are no UTF-8 become replacement characters."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
