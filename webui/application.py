"""The application: routes out of the contract, the built page, and the guard around both."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from webui import browsing, comparing, grouping, guard, imaging, jobs, judging, likening, searching, uploads
from webui.contract import document, routes_of
from webui.guard import Guard
from webui.maps import map_address, require_maps
from webui.problems import Refusal, problem_response
from webui.server import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from starlette.requests import Request

    from webui.options import Options

__all__ = ["OPERATIONS", "make_application"]

OPERATIONS = tuple(
    operation
    for module in (guard, browsing, imaging, uploads, searching, likening, comparing, judging, grouping, jobs)
    for operation in module.OPERATIONS
)
"""Everything that can be asked."""

_NOT_BUILT = """<!doctype html><html lang="en"><title>calque</title>
<h1>The page is not built</h1>
<p>The server runs, and its API answers at <a href="/api">/api</a>. Build the page with <code>make web</code>.</p>
"""


def make_application(paths: Sequence[Path], options: Options) -> Starlette:
    """Return the application that serves indexes.

    Parameters
    ----------
    paths : sequence of Path
        The indexes.
    options : Options

    Raises
    ------
    CalqueError
        If an index cannot be opened.
    """
    server = Server(paths, options, _version())
    require_maps(options.maps, [holding.name for holding in server.shelf])
    told = document(OPERATIONS, server.version, [holding.name for holding in server.shelf])

    async def api(request: Request) -> Response:
        return JSONResponse(told)

    async def unknown(request: Request) -> Response:
        raise Refusal(404, f"there is nothing at {request.url.path}")

    async def page(request: Request) -> Response:
        index = options.static / "index.html"
        if not index.is_file():
            return HTMLResponse(_NOT_BUILT)
        return FileResponse(index, headers={"Cache-Control": "no-cache"})

    async def refuse(request: Request, error: Exception) -> Response:
        if isinstance(error, Refusal):
            return problem_response(error)
        assert isinstance(error, HTTPException)
        return problem_response(Refusal(error.status_code, f"{error.detail}: {request.url.path}", error.headers))

    @asynccontextmanager
    async def running(application: Starlette) -> AsyncIterator[None]:
        if options.warm:
            server.decoders.prepare()
            server.shelf.warm()
        try:
            yield
        finally:
            server.close()

    application = Starlette(
        routes=[
            Route("/api/openapi.json", api, methods=["GET"]),
            *routes_of(OPERATIONS),
            Mount("/static", _Static(directory=options.static, check_dir=False)),
            *(Mount(map_address(name), _Static(directory=folder)) for name, folder in options.maps.items()),
            *(Route(f"/{start}/{{rest:path}}", unknown) for start in ("api", "iiif", "maps")),
            Route("/{path:path}", page, methods=["GET"]),
        ],
        middleware=[Middleware(Guard, options=options)],
        exception_handlers={HTTPException: refuse, Refusal: refuse},
        lifespan=running,
    )
    application.router.redirect_slashes = False
    application.state.server = server
    return application


class _Static(StaticFiles):
    """The files of the built page, which browsers ask after each time."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _version() -> str:
    try:
        return version("calque")
    except PackageNotFoundError:  # run from its sources
        return "0"
