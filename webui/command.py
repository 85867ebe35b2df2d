"""``calque serve``: indexes on a page in the browser. A command that lives with what it starts; `cli` only names it."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import sys
import threading
import webbrowser
from pathlib import Path

import click

from matcher.errors import InputError, MissingDependency

__all__ = ["serve"]

_MEGA = 1 << 20


@click.command()
@click.argument("indexes", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="INDEX...")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0: any that is free.")
@click.option(
    "--name", "names", multiple=True, metavar="NAME", help="Name by which this server is called, as in its address."
)
@click.option("--token", metavar="TEXT", help="What clients must know; made up and printed for any host but this one.")
@click.option(
    "--trusted-user-header",
    metavar="HEADER",
    help="Header in which a reverse proxy tells who asks, instead of a token.",
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    default=("127.0.0.1", "::1"),
    show_default=True,
    metavar="ADDRESS",
    help="Address of a proxy: what it tells in that header, X-Forwarded-For and -Proto is believed.",
)
@click.option("--read-only", is_flag=True, help="Search and look only: no judgements, no additions.")
@click.option(
    "--allow",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Folder below which images may be added from the page. Repeat for more; none by default.",
)
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="FOLDER",
    help="Show the map that `calque map` has made there; INDEX=FOLDER where several indexes are served. Make it with "
    "--server and the address of this server, so that its pictures lead here.",
)
@click.option("--no-addresses", is_flag=True, help="Fetch no IIIF manifests.")
@click.option("--allow-private", is_flag=True, help="Fetch manifests from private networks and this machine, too.")
@click.option(
    "--max-upload", type=click.IntRange(1, 4096), default=64, show_default=True, metavar="MB", help="Largest upload."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=50.0,
    show_default=True,
    metavar="N",
    help="Requests a second that one client may make in the long run; a search counts as ten. 0: no limit.",
)
@click.option("--workers", type=click.IntRange(1, 64), metavar="N", help="Processes that decode; one per core.")
@click.option(
    "--cache-size",
    type=click.IntRange(16, 1 << 20),
    default=2048,
    show_default=True,
    metavar="MB",
    help="Room for tiles and thumbnails, in the user's folder of caches.",
)
@click.option("--open/--no-open", "opened", default=True, help="Open the page in a browser; by default on a terminal.")
def serve(
    indexes: tuple[Path, ...],
    host: str,
    port: int,
    names: tuple[str, ...],
    token: str | None,
    trusted_user_header: str | None,
    proxies: tuple[str, ...],
    read_only: bool,
    folders: tuple[Path, ...],
    maps: tuple[str, ...],
    no_addresses: bool,
    allow_private: bool,
    max_upload: int,
    rate: float,
    workers: int | None,
    cache_size: int,
    opened: bool,
) -> int:
    """Show INDEXES on a page: browse, draw a box, see every other impression, compare, judge, group.

    Only this machine can reach the page, unless --host says otherwise; then a token is wanted, which is printed with
    the page's address, or a reverse proxy that tells who asks. Needs: pip install 'calque[web]'.

    \b
    Examples:
      calque serve scans.calque
      calque serve books.calque prints.calque --allow /data/scans
      calque serve books.calque prints.calque --map prints=map/
      calque serve scans.calque --read-only --host 0.0.0.0 --name scans.library.example
    """
    try:
        import uvicorn

        from webui.application import make_application
        from webui.maps import named_maps
        from webui.options import Options
        from webui.shelf import names_of
    except ImportError as error:
        raise MissingDependency(
            f"the page needs packages that are not installed ({error.name}); pip install 'calque[web]'"
        ) from error

    from index.memory import spare_memory
    from index.workers import default_workers

    spare_memory()
    local = _is_local(host)
    if not local and token is None and trusted_user_header is None:
        token = secrets.token_urlsafe(18)
    options = Options(
        folders=tuple(folder.resolve() for folder in folders),
        names=frozenset(name.lower().rstrip(".") for name in names),
        token=token,
        user_header=trusted_user_header,
        proxies=frozenset(proxies),
        read_only=read_only,
        addresses=not no_addresses,
        allow_private=allow_private,
        rate=rate,
        upload_bytes=max_upload * _MEGA,
        cache_bytes=cache_size * _MEGA,
        workers=workers or default_workers(),
        maps={name: Path(folder) for name, folder in named_maps(maps, names_of(indexes)).items()},
    )
    application = make_application(indexes, options)
    listening = _listening(host, port)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    address = f"http://{f'[{shown}]' if ':' in shown else shown}:{listening.getsockname()[1]}/"
    entered = address if token is None else f"{address}?token={token}"
    click.echo(f"calque: serving {', '.join(map(str, indexes))} at {entered}", err=True)
    if not (options.static / "index.html").is_file():
        click.echo("calque: the page is not built, only the API answers; build it with: make web", err=True)
    if opened and local and sys.stderr.isatty():
        threading.Timer(0.5, webbrowser.open, (entered,)).start()
    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=5,
        limit_concurrency=1000,
        h11_max_incomplete_event_size=32 << 10,
        http="h11",
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[listening])
    return 0


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that its port is known before anybody is told."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
        made.listen(2048)  # who comes before the server runs waits for it, and is not turned away
    except OSError as error:
        raise InputError(f"{host}:{port} cannot be listened at ({error.strerror}); give another --port") from error
    return made
