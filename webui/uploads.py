"""Pictures that clients bring to look for: theirs alone, for a while, and never the bytes that came."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from matcher.errors import InputError
from webui import questions, shapes
from webui.contract import Call, Operation, streamed
from webui.drawing import normalised
from webui.imaging import Picture, thumbnail_address
from webui.problems import Refusal, no_such

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from webui.options import Options

__all__ = ["COOKIE", "OPERATIONS", "Held", "Uploads", "add_upload", "remove_upload", "upload"]

COOKIE = "calque_browser"
"""Name of the cookie that tells whose an upload is."""

_OF_ONE = 20
_OF_ALL = 500
"""Uploads kept of one client, and of all; the longest unused go."""

_ENVELOPE = 64 << 10
"""Bytes that a form may have besides the file."""

_PICTURES = (
    *("image/jpeg", "image/png", "image/tiff", "image/webp", "image/gif", "image/bmp", "image/jp2", "image/avif"),
    "application/pdf",
)
"""Media types of bodies that are a picture; what they are in truth, decoding tells."""


@dataclass(slots=True)
class Held:
    """An upload: whose it is, what it was called, its picture as a plain JPEG, when it was last used."""

    id: str
    owner: str
    name: str
    picture: Picture
    used: float


class Uploads:
    """The uploads that are kept. Only the thread that answers requests changes them."""

    def __init__(self, options: Options) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="calque-uploads-"))
        self._kept_seconds = options.kept_seconds
        self._held: dict[str, Held] = {}  # the longest unused first

    def find(self, upload: str, owner: str) -> Held:
        """Return an upload of `owner`; `Refusal` (404) if there is none, or it is somebody else's."""
        self._sweep()
        held = self._held.get(upload)
        if held is None or not owner or not secrets.compare_digest(held.owner.encode(), owner.encode()):
            raise no_such("upload", upload, "uploads are forgotten after a while: bring it again")
        held.used = time.monotonic()
        self._held[upload] = self._held.pop(upload)
        return held

    def place(self) -> tuple[str, Path]:
        """Return an id that nobody guesses, and a folder for it."""
        upload = secrets.token_urlsafe(24)
        folder = self._folder / upload
        folder.mkdir(mode=0o700)
        return upload, folder

    def keep(self, held: Held) -> None:
        """Keep an upload, and forget the longest unused where there are too many."""
        self._held[held.id] = held
        theirs = [other.id for other in self._held.values() if other.owner == held.owner]
        for upload in [*theirs[:-_OF_ONE], *list(self._held)[:-_OF_ALL]]:
            self.drop(upload)

    def drop(self, upload: str) -> None:
        """Forget an upload and all that was made of it."""
        self._held.pop(upload, None)
        shutil.rmtree(self._folder / upload, ignore_errors=True)

    def expires(self, held: Held) -> str:
        """Return when an upload will be forgotten if it is not used meanwhile."""
        left = self._kept_seconds - (time.monotonic() - held.used)
        return datetime.fromtimestamp(time.time() + left, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def close(self) -> None:
        """Forget everything."""
        self._held.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _sweep(self) -> None:
        before = time.monotonic() - self._kept_seconds
        for upload in [held.id for held in self._held.values() if held.used < before]:
            self.drop(upload)


async def add_upload(call: Call, query: questions.UploadQuery) -> Response:
    """Take a picture, decode it in a process of its own, and keep it."""
    uploads, options = call.server.uploads, call.server.options
    owner = call.owner or secrets.token_urlsafe(24)
    upload, folder = uploads.place()
    try:
        raw = folder / "raw"
        name = await _receive(call.request, raw, options)
        target = folder / "picture.jpg"
        decode = partial(call.server.decoders.do, options.worker_seconds, normalised)
        try:
            width, height = await call.server.decoding.run(decode, raw, query.page, options.upload_pixels, target)
        except InputError as error:
            raise Refusal(415, str(error).replace(f"{raw}: ", "").replace(str(raw), name)) from error
        raw.unlink()
    except BaseException:
        uploads.drop(upload)
        raise
    picture = Picture(f"/iiif/uploads/{upload}", target, 0, width, height, upload, folder)
    held = Held(upload, owner, name, picture, time.monotonic())
    uploads.keep(held)
    response = call.json(_told(uploads, held), 201)
    if not call.owner:
        secure = call.request.url.scheme == "https"
        response.set_cookie(COOKIE, owner, path="/", httponly=True, samesite="strict", secure=secure)
    return response


async def upload(call: Call) -> shapes.Upload:
    """Return what an upload is."""
    return _told(call.server.uploads, call.server.uploads.find(call.path["upload"], call.owner))


async def remove_upload(call: Call) -> None:
    """Forget an upload."""
    call.server.uploads.drop(call.server.uploads.find(call.path["upload"], call.owner).id)


def _told(uploads: Uploads, held: Held) -> shapes.Upload:
    address = held.picture.address
    return shapes.Upload(
        held.id,
        held.name,
        held.picture.width,
        held.picture.height,
        address,
        thumbnail_address(address),
        uploads.expires(held),
    )


async def _receive(request: Request, raw: Path, options: Options) -> str:
    """Write the picture that comes with a request into the file `raw`, and return its name."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        body = streamed(request, options.upload_bytes + _ENVELOPE, options.upload_seconds)
        parser = MultiPartParser(request.headers, body, max_files=1, max_fields=1, max_part_size=_ENVELOPE)
        try:
            form = await parser.parse()
        except (MultiPartException, FormParserError, KeyError, LookupError) as error:
            raise Refusal(400, f"the form cannot be read: {getattr(error, 'message', error)}") from error
        try:
            file = form.get("file")
            if not isinstance(file, UploadFile) or len(form) > 1:
                raise Refusal(400, "the form is to have one part, a file called 'file'")
            if (file.size or 0) > options.upload_bytes:
                raise Refusal(413, f"more than {options.upload_bytes:,} bytes")
            with raw.open("wb") as target:
                shutil.copyfileobj(file.file, target)
            return _plain_name(file.filename or "")
        finally:
            await form.close()
    if kind not in _PICTURES:
        raise Refusal(415, f"{kind or 'a body of no kind'} is no picture that is taken; send {', '.join(_PICTURES)}")
    with raw.open("wb") as target:
        async for chunk in streamed(request, options.upload_bytes, options.upload_seconds):
            target.write(chunk)
    return _plain_name("")


def _plain_name(name: str) -> str:
    """Return the last part of a file name as a title."""
    last = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(character for character in last if character.isprintable())[:200]
    return shown.encode(errors="replace").decode() or "upload"


OPERATIONS = (
    Operation(
        "POST", "/api/uploads", add_upload, "Bring a picture to look for", shapes.Upload,
        query=questions.UploadQuery, status=201, raw=("multipart/form-data", *_PICTURES), refusals=(413, 415),
    ),
    Operation("GET", "/api/uploads/{upload}", upload, "What an upload is", shapes.Upload),
    Operation("DELETE", "/api/uploads/{upload}", remove_upload, "Forget an upload", "", status=204),
)  # fmt: skip
"""Routes of this module."""
