"""The vectors of an index kept on a Qdrant server, too, for collections that outgrow one machine, and searched there.

A collection of the server mirrors the vectors of one model: a point for each, which carries the id of its image, its
region, name, page and metadata, so that other programs can use it without calque. The index stays the truth:
`ServerVectors.synchronise` adds what is missing, changes what has changed and deletes what is gone.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from index.exports import readable
from matcher.errors import CalqueError, InputError, MissingDependency, SettingsMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from index.contents import Contents
    from index.vectors import StoredModel, Vectors

__all__ = ["KEY_VARIABLE", "ServerHit", "ServerNearest", "ServerVectors", "SyncReport"]

KEY_VARIABLE = "CALQUE_QDRANT_KEY"
"""Variable of the environment that holds the key of a server that asks for one."""

_BATCH = 256
_PAGE = 2000
_PATIENCE = 60
_POINTS = uuid.UUID("8d3c2a4e-6b1f-5f0a-9d57-3c1e0b7a2f64")
"""Names ids of points: the same vector always gets the same."""

_SIGNED = "signature"


class ServerHit(NamedTuple):
    """What a server found.

    Attributes
    ----------
    image : int
        Catalogue id of the image.
    box : tuple of float or None
        Region of the image, x, y, width, height in pixels; None for all of it.
    likeness : float
        Inner product with the query.
    name, page : str, int
        Of the image.
    """

    image: int
    box: tuple[float, ...] | None
    likeness: float
    name: str
    page: int


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What `ServerVectors.synchronise` did: points entered anew or changed, deleted, and those that were right."""

    entered: int
    deleted: int
    known: int


class ServerVectors:
    """The vectors of a model in a collection of a Qdrant server. Close it, or use it in a ``with`` block.

    Parameters
    ----------
    where : str
        Address of a server, ``http://…`` or ``https://…`` (its key, if it asks for one, in `KEY_VARIABLE`); the path
        of a folder for Qdrant's local mode, which needs no server and is made for trials; ``:memory:``.
    collection : str
    model : StoredModel
        Whose vectors they are.

    Raises
    ------
    MissingDependency
        If qdrant-client is not installed.
    SettingsMismatch
        If the collection holds vectors of another model.
    CalqueError
        If the server cannot be reached, or refuses.
    """

    def __init__(self, where: str, collection: str, model: StoredModel) -> None:
        try:
            from qdrant_client import QdrantClient, models
        except ImportError as error:
            raise MissingDependency(
                f"{error.name} is not installed; install it with: pip install 'calque[qdrant]'"
            ) from error
        self._models: Any = models
        self.where, self.collection, self.model = where, collection, model
        with self._naming_errors():
            if where.startswith(("http://", "https://")):
                key = os.environ.get(KEY_VARIABLE) or None
                client: Any = QdrantClient(url=where, api_key=key, timeout=_PATIENCE, check_compatibility=False)
            else:
                client = QdrantClient(":memory:") if where == ":memory:" else QdrantClient(path=where)
        self._client = client
        try:
            with self._naming_errors():
                self._claim()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the server."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """How many vectors the server has."""
        with self._naming_errors():
            return int(self._client.count(self.collection, exact=True).count)

    def add(self, vectors: Vectors, which: NDArray[np.int64], told: Callable[[int], dict[str, Any]]) -> None:
        """Enter the vectors numbered `which`, in place of those of the same images and regions.

        `told` returns what is known of an image by its id, as a payload.
        """
        numbers = iter(which.tolist())
        while batch := list(islice(numbers, _BATCH)):
            rows = vectors.gather(np.array(batch))
            points = [
                self._models.PointStruct(id=point, vector=row.tolist(), payload=payload)
                for row, (point, payload) in zip(rows, self._described(vectors, batch, told), strict=True)
            ]
            with self._naming_errors():
                self._client.upsert(self.collection, points, wait=True)

    def delete(self, images: Collection[int]) -> None:
        """Delete all vectors of images, by their ids."""
        if images:
            with self._naming_errors():
                self._client.delete(
                    self.collection, self._models.FilterSelector(filter=self._filter(images)), wait=True
                )

    def search(
        self,
        query: NDArray[np.float32],
        top: int,
        *,
        images: Collection[int] | None = None,
        metadata: Mapping[str, str] | None = None,
        whole: bool | None = None,
    ) -> list[ServerHit]:
        """Return what is nearest to a query, the nearest first.

        Parameters
        ----------
        query : float32, shape (d,)
        top : int
            How many, at the most.
        images : collection of int, optional
            Ids of the images that count, such as `Index.select` returns.
        metadata : mapping of str to str, optional
            Values that the metadata of the images must have, looked up by the server.
        whole : bool, optional
            Only whole images, or only regions.
        """
        if not top:
            return []
        return [
            ServerHit(told["image"], _box(told), float(point.score), told["name"], told["page"])
            for point in self._asked(query, top, self._filter(images, metadata, whole))
            for told in (point.payload,)
        ]

    def synchronise(
        self, index: Contents, vectors: Vectors, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> SyncReport:
        """Let the server have the vectors of an index as they are now, with what is known of the images.

        What is on the server and right is not sent again: an interrupted call goes on.
        """
        metadata = index.all_metadata()
        records = {record.id: record for record in index.images()}

        def told(image: int) -> dict[str, Any]:
            record, known = records[image], metadata.get(image, {})
            values = [_plain(f"{key}={value}") for key, value in known.items()]
            plain = {_plain(key): _plain(value) for key, value in known.items()}
            return {"name": readable(record.name), "page": record.page, "metadata": plain, "values": values}

        there = dict(self._there())
        missing: list[int] = []
        for number, (point, payload) in enumerate(self._described(vectors, range(len(vectors)), told)):
            if there.pop(point, None) != payload["digest"]:
                missing.append(number)
        for start in range(0, len(missing), _BATCH):
            self.add(vectors, np.array(missing[start : start + _BATCH], np.int64), told)
            progress(min(start + _BATCH, len(missing)), len(missing))
        gone = iter(there)
        while batch := list(islice(gone, _PAGE)):
            with self._naming_errors():
                self._client.delete(self.collection, self._models.PointIdsList(points=batch), wait=True)
        return SyncReport(len(missing), len(there), len(vectors) - len(missing))

    def nearest_of(
        self, vectors: Vectors, query: NDArray[np.float32], top: int, among: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """See `ServerNearest.search`."""
        kept = None
        if among is not None:
            # The shorter list of the two is sent.
            few = int(np.count_nonzero(among)) <= len(vectors) // 2
            ids = [_point_id(vectors, number) for number in np.flatnonzero(among if few else ~among).tolist()]
            condition = [self._models.HasIdCondition(has_id=ids)]
            kept = self._models.Filter(must=condition) if few else self._models.Filter(must_not=condition)
        numbers, likeness = [], []
        for point in self._asked(query, top, kept) if top else ():
            number = vectors.find(point.payload["image"], _box(point.payload))
            if number is not None:  # else it has gone from the index since they were synchronised
                numbers.append(number)
                likeness.append(point.score)
        return np.array(numbers, np.int64), np.array(likeness, np.float32)

    def _asked(self, query: NDArray[np.float32], top: int, kept: Any) -> Any:
        with self._naming_errors():
            found = self._client.query_points(
                self.collection,
                query=np.asarray(query, np.float32).tolist(),
                query_filter=kept,
                limit=top,
                with_payload=["image", "box", "name", "page"],
            )
        return found.points

    def _claim(self) -> None:
        """Make the collection where there is none, and refuse one of another model."""
        if not self._client.collection_exists(self.collection):
            # Vectors are of unit length or nearly so: their inner product is what is compared on this machine, too.
            space = self._models.VectorParams(size=self.model.size, distance=self._models.Distance.DOT, on_disk=True)
            self._client.create_collection(self.collection, vectors_config=space)
            if self.where.startswith("http"):  # the local mode knows none
                for field, kind in (("image", "integer"), ("values", "keyword"), ("whole", "bool")):
                    self._client.create_payload_index(self.collection, field, kind)
            return
        size = getattr(self._client.get_collection(self.collection).config.params.vectors, "size", None)
        points, _ = self._client.scroll(self.collection, limit=1, with_payload=[_SIGNED])
        signed = points[0].payload.get(_SIGNED) if points else None
        if size != self.model.size or (points and signed != self.model.signature):
            raise SettingsMismatch(
                f"the collection {self.collection} at {self.where} has vectors of {signed or 'another program'} "
                f"({size} dimensions), not of {self.model.signature} ({self.model.size}); give another --collection"
            )

    def _described(
        self, vectors: Vectors, numbers: Sequence[int], told: Callable[[int], dict[str, Any]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield id and payload of the points of vectors."""
        for number in numbers:
            box = vectors.boxes[number].tolist()
            image = int(vectors.image_ids[number])
            whole = not any(box)
            payload = {"image": image, "box": None if whole else box, "whole": whole, **told(image)}
            payload[_SIGNED] = self.model.signature
            text = json.dumps(payload, sort_keys=True)
            payload["digest"] = hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
            yield _point_id(vectors, number), payload

    def _there(self) -> Iterator[tuple[str, str]]:
        """Yield the ids of all points, and the digests of what they carry."""
        offset = None
        while True:
            with self._naming_errors():
                points, offset = self._client.scroll(
                    self.collection, limit=_PAGE, offset=offset, with_payload=["digest"], with_vectors=False
                )
            yield from ((str(point.id), point.payload.get("digest", "")) for point in points)
            if offset is None:
                return

    def _filter(
        self,
        images: Collection[int] | None = None,
        metadata: Mapping[str, str] | None = None,
        whole: bool | None = None,
    ) -> Any:
        models = self._models
        must = []
        if images is not None:
            must.append(models.FieldCondition(key="image", match=models.MatchAny(any=sorted(images))))
        for key, value in (metadata or {}).items():
            must.append(models.FieldCondition(key="values", match=models.MatchValue(value=_plain(f"{key}={value}"))))
        if whole is not None:
            must.append(models.FieldCondition(key="whole", match=models.MatchValue(value=whole)))
        return models.Filter(must=must) if must else None

    @contextmanager
    def _naming_errors(self) -> Iterator[None]:
        """Turn what the client raises into errors that name the server and the remedy."""
        from qdrant_client.http.exceptions import ApiException

        try:
            yield
        except ApiException as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise CalqueError(
                f"the vector server at {self.where} cannot be used ({reason}); see that it runs, and that "
                f"{KEY_VARIABLE} holds its key if it asks for one"
            ) from error
        except (RuntimeError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{self.where}: cannot be used for vectors ({reason}); give another place") from error


class ServerNearest:
    """Finds the nearest of the vectors of an index by asking a server: `index.nearest.Nearest`, elsewhere.

    Parameters
    ----------
    server : ServerVectors
        Synchronised with the vectors.
    vectors : Vectors
    """

    def __init__(self, server: ServerVectors, vectors: Vectors) -> None:
        self._server = server
        self._vectors = vectors

    def search(
        self, query: NDArray[np.float32], top: int, among: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the nearest vectors, as `index.nearest.Nearest.search` does; of those on the server."""
        return self._server.nearest_of(self._vectors, query, top, among)


def _point_id(vectors: Vectors, number: int) -> str:
    """Return the id of the point of a vector: the same for the same image and region of the same model."""
    box = ",".join(map(repr, vectors.boxes[number].tolist()))
    return str(uuid.uuid5(_POINTS, f"{vectors.model.signature} {int(vectors.image_ids[number])} {box}"))


def _box(told: Mapping[str, Any]) -> tuple[float, ...] | None:
    box = told.get("box")
    return None if box is None else tuple(box)


def _plain(text: str) -> str:
    """Return text without halves of surrogate pairs, which no server takes."""
    return text.encode(errors="replace").decode()
