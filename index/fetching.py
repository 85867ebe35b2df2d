"""Files from other people's servers: asked for politely, kept on disk, and never from a private network by accident.

A name is resolved once and the very address that was checked is connected to, at each redirect anew: a server that
answers one name with several addresses in turn ("DNS rebinding") gains nothing. Proxies of the environment are not
used, since what lies behind them could not be checked.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import random
import socket
import tempfile
import time
import zlib
from collections import defaultdict
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import httpcore

from index.durable import naming_full_disk
from matcher.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Fetcher", "NotPublic", "NotServed", "askable", "cache_folder"]

_ATTEMPTS = 5
_LONGEST_WAIT = 300.0
"""Seconds that a server may ask to be left alone before it is given up for this time."""
_LONGEST_FETCH = 900.0
"""Seconds for one file, however steadily it trickles."""
_REDIRECTS = 8
_TIMEOUTS = {"connect": 15.0, "read": 60.0, "write": 30.0, "pool": 30.0}
_LARGEST_DOCUMENT = 64 << 20
_LARGEST_IMAGE = 512 << 20
_FRESH = 24 * 3600.0
"""Seconds for which a document is taken from the cache; images are for good."""
_LATER = {408, 425, 429, 500, 502, 503, 504}
"""Answers after which it is worth asking again."""
_MOVED = {301, 302, 303, 307, 308}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_DROPPED = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.RemoteProtocolError)


class NotServed(InputError):
    """A server has answered that it will not give this: another address may do."""


class NotPublic(InputError):
    """A server that manifests of strangers must not make us ask: on this machine, in a private network."""


class _Later(Exception):
    """A server wants to be asked again, after so many seconds if it says so."""

    def __init__(self, status: int, seconds: float | None) -> None:
        super().__init__(f"the server answers {status}")
        self.seconds = seconds


def cache_folder() -> Path:
    """Return where fetched files are kept: ``CALQUE_CACHE``, or ``calque`` in the user's folder of caches."""
    own = os.environ.get("CALQUE_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "calque"


class Fetcher:
    """Fetches documents and images, one at a time.

    Parameters
    ----------
    folder : Path, optional
        Where files are kept, by default `cache_folder`.
    pause : float
        Least seconds between the starts of two requests to one server; doubled whenever it says that it is too much.
    allow_private : bool
        Whether servers in private networks and on this machine may be asked.
    sleep : callable
        Waits so many seconds.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        pause: float = 0.2,
        allow_private: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.folder = folder or cache_folder()
        self._pauses: dict[str, float] = defaultdict(lambda: pause)
        self._turns: dict[str, float] = defaultdict(float)
        self._sleep = sleep
        self._pool = httpcore.ConnectionPool(network_backend=_CheckedNetwork(allow_private), keepalive_expiry=15.0)
        self._agent = ("User-Agent", _agent())

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.close()

    def kept(self, address: str, suffix: str) -> Path:
        """Return where the file of an address is, or will be, kept."""
        host = urlsplit(address).hostname or "file"
        name = hashlib.blake2b(address.encode(errors="replace"), digest_size=16).hexdigest()
        return self.folder / "iiif" / "".join(c if c.isalnum() or c in "-." else "_" for c in host) / f"{name}{suffix}"

    def document(self, address: str) -> Any:
        """Return a JSON document, from the cache if it came within a day.

        Raises
        ------
        InputError
            If it cannot be had, or is no JSON.
        """
        path = self.kept(address, ".json")
        if _is_fresh(path):
            with suppress(OSError, ValueError):
                return json.loads(path.read_bytes())
        with _written(path) as file:
            self._get(address, file, _LARGEST_DOCUMENT, [("Accept", "application/ld+json, application/json")])
            file.seek(0)
            try:
                return json.load(file)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{address}: not a JSON document ({error}); check the address") from error

    def text(self, address: str, suffix: str) -> Path:
        """Return the file that the text at an address is kept in, fetched if it was not within a day."""
        path = self.kept(address, suffix)
        if not _is_fresh(path):
            with _written(path) as file:
                self._get(address, file, _LARGEST_DOCUMENT, [])
        return path

    def image(self, address: str, path: Path) -> None:
        """Fetch an image into the file `path`, wholly or not at all; `InputError` if it cannot be had."""
        with _written(path) as file:
            kind = self._get(address, file, _LARGEST_IMAGE, [("Accept", "image/*")])
            if kind.startswith("text/") or kind.endswith("json"):
                raise NotServed(f"{address}: answers with {kind}, not with an image; open it in a browser to see why")

    def _get(self, address: str, file: BinaryIO, limit: int, headers: list[tuple[str, str]]) -> str:
        """Write what an address holds to `file`, asking again where that helps; return its media type."""
        begun = _Begun()
        for attempt in range(_ATTEMPTS):
            try:
                return self._follow(address, file, limit, headers, begun)
            except (_Later, *_DROPPED) as error:
                reason = str(error) or type(error).__name__
                asked = error.seconds if isinstance(error, _Later) else None
            if asked is not None and asked > _LONGEST_WAIT:
                raise InputError(f"{address}: {reason} and asks for {asked:.0f} s of rest; try again then")
            if attempt + 1 < _ATTEMPTS:
                self._sleep(asked if asked is not None else 2**attempt * random.uniform(0.75, 1.25))
        raise InputError(f"{address}: {reason}, {_ATTEMPTS} times; try again later, what has come before is kept")

    def _follow(self, address: str, file: BinaryIO, limit: int, headers: list[tuple[str, str]], begun: _Begun) -> str:
        current = address
        for _ in range(_REDIRECTS):
            url, host = _requestable(current)
            self._take_turn(host)
            asked = [self._agent, *headers, *begun.headers()]
            with self._pool.stream("GET", url, headers=asked, extensions={"timeout": _TIMEOUTS}) as response:
                told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
                if response.status in _MOVED and "location" in told:
                    current = urljoin(current, told["location"])
                    continue
                if response.status in _LATER:
                    self._pauses[host] = min(2 * self._pauses[host] + 0.1, 30.0)
                    raise _Later(response.status, _seconds(told.get("retry-after")))
                if response.status not in (200, 206):
                    raise NotServed(f"{address}: the server answers {response.status}{_hint(response.status)}")
                begun.prepare(file, response.status, told)
                begun.write(response.iter_stream(), file, limit, address)
                return told.get("content-type", "").partition(";")[0].strip().lower()
        raise NotServed(f"{address}: more than {_REDIRECTS} redirections; check the address")

    def _take_turn(self, host: str) -> None:
        now = time.monotonic()
        if self._turns[host] > now:
            self._sleep(self._turns[host] - now)
        self._turns[host] = max(now, self._turns[host]) + self._pauses[host]


class _Begun:
    """How far a file has come, so that a dropped connection need not cost what had come through."""

    def __init__(self) -> None:
        self._size = 0
        self._state = ""
        self._gzip: Any = None

    def headers(self) -> list[tuple[str, str]]:
        """Return how to ask for the rest, provided that it is still the rest of the same."""
        if self._size and self._state:
            return [("Range", f"bytes={self._size}-"), ("If-Range", self._state), ("Accept-Encoding", "identity")]
        return [("Accept-Encoding", "gzip")]

    def prepare(self, file: BinaryIO, status: int, told: dict[str, str]) -> None:
        """Go to where the answer belongs in `file`."""
        rest = status == 206 and told.get("content-range", "").startswith(f"bytes {self._size}-")
        if not rest:
            self._size = 0
            if status == 206:
                raise httpcore.RemoteProtocolError("the server sends another part than asked for")
        file.seek(self._size)
        file.truncate()
        encoded = told.get("content-encoding", "identity") != "identity"
        self._gzip = zlib.decompressobj(wbits=47) if encoded else None  # gzip and zlib alike
        state = told.get("etag", "")
        self._state = "" if encoded or state.startswith("W/") else state or told.get("last-modified", "")

    def write(self, chunks: Iterable[bytes], file: BinaryIO, limit: int, address: str) -> None:
        """Write what comes, as long as it is not too much and does not take too long."""
        end = time.monotonic() + _LONGEST_FETCH
        for chunk in chunks:
            try:
                content = self._gzip.decompress(chunk, limit + 1) if self._gzip else chunk
            except zlib.error as error:
                raise InputError(f"{address}: badly compressed ({error}); try again later") from error
            file.write(content)
            self._size += len(content)
            if self._size > limit:
                raise InputError(f"{address}: larger than {limit >> 20} MB; download it, and add the file")
            if time.monotonic() > end:
                raise InputError(f"{address}: takes more than {_LONGEST_FETCH:.0f} s; try again later")


class _CheckedNetwork(httpcore.NetworkBackend):
    """Connects only to addresses that were looked at."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of `host` that may be asked and answers."""
        allowed = askable(host, port, self._allow_private)
        for address in allowed[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
        return self._backend.connect_tcp(allowed[-1], port, timeout, local_address, socket_options)


def askable(host: str, port: int, allow_private: bool = False) -> list[str]:
    """Return the addresses of a server that may be asked.

    Raises
    ------
    NotPublic
        If it is on this machine or in a private network, and `allow_private` is not set.
    InputError
        If there is no such server.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
            raise httpcore.ConnectError(f"{host} cannot be looked up") from error
        raise InputError(f"{host}: no such server; check the address") from error
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    allowed = [address for address in addresses if allow_private or _is_public(address)]
    if not allowed:
        raise NotPublic(
            f"{host} is {addresses[0]}, an address on this machine or in a private network; "
            "if you trust whoever wrote the manifest, use --allow-private"
        )
    return allowed


def _agent() -> str:
    """Return what servers are told of who asks, so that their keepers can look it up."""
    own = "calque"
    with suppress(PackageNotFoundError):  # run from its sources
        own += f"/{version('calque')}"
    return f"{own} (image search in collections; httpcore/{httpcore.__version__})"


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(address.packed[-4:])
        if inner is not None:
            return _is_public(str(inner))
    return address.is_global and not address.is_multicast


def _requestable(address: str) -> tuple[str, str]:
    """Return an address in the characters that a request may have, and its server with the port."""
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as error:
        raise InputError(f"{address}: not an address ({error}); check it") from error
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise InputError(f"{address}: not an http or https address; download what it means, and add the file")
    server = f"[{host}]" if ":" in host else host
    server += f":{port}" if port else ""
    path, query = (quote(part, safe="/%:@!$&'()*+,;=~?") for part in (parts.path or "/", parts.query))
    return urlunsplit((parts.scheme.lower(), server, path, query, "")), server


def _is_fresh(path: Path) -> bool:
    with suppress(OSError):
        return 0 <= time.time() - path.stat().st_mtime < _FRESH
    return False


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, which tells them or a date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(retry_after))
    with suppress(ValueError, TypeError):
        then = parsedate_to_datetime(retry_after)
        return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    return None


def _hint(status: int) -> str:
    if status in (401, 403):
        return "; it wants a login, or does not want programs: ask the library"
    return "; it is gone, or the address is wrong" if status in (404, 410) else "; open it in a browser to see why"


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes `path` once the block ends well; two processes may fetch the same."""
    with naming_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The file's descriptor is closed before the name changes hands: Windows insists.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".partial", delete=False) as file:
            try:
                yield file  # type: ignore[misc] # typed as a wrapper, which is a BinaryIO in all but name
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                file.close()
                Path(file.name).unlink(missing_ok=True)
                raise
        Path(file.name).replace(path)
