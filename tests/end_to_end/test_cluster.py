"""A cluster of two worker processes gives what this machine gives, also when they are killed: nothing lost or twice."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from operator import neg
from typing import TYPE_CHECKING

import pytest

distributed = pytest.importorskip("distributed")

import dask  # noqa: E402

from index.answers import Query  # noqa: E402
from index.cluster import Cluster  # noqa: E402
from index.groups import group_as_dict, groups  # noqa: E402
from index.links import Links, find_links  # noqa: E402
from index.search import search  # noqa: E402
from index.store import Index  # noqa: E402
from index.tracing import Journal, photos_of, trace  # noqa: E402
from index.workers import Failed  # noqa: E402
from matcher.errors import CalqueError, MissingDependency, SettingsMismatch  # noqa: E402
from tests.crash.fake_encoder import BLANK, DEADLY, SETTINGS, UNREADABLE, FakeEncoder  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from index.answers import Answer, Hit
    from tests.conftest import Calque, Collection

FILES = {f"scan{i:02}.png": b"scan %d" % i for i in range(40)} | {"scan07.png": BLANK}


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a cluster whose scheduler calls a task a killer as soon as one worker has died under it."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as made,
    ):
        yield made.scheduler_address


@pytest.fixture(scope="module")
def cluster(scheduler: str) -> Iterator[Cluster]:
    with Cluster(scheduler) as connected:
        yield connected


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


def kill_one(cluster: Cluster) -> None:
    os.kill(next(iter(cluster.client.run(os.getpid).values())), signal.SIGKILL)


def contents(path: Path) -> list[tuple[object, ...]]:
    """Return all that an index holds of its images, but for the name of their segment."""
    with Index.open(path) as opened:
        assert opened.check(deep=True) == []
        stored = ([part.tobytes() for part in opened.gather(record.id)] for record in opened.images())
        return [(replace(record, segment=None), *parts) for record, parts in zip(opened.images(), stored, strict=True)]


def untimed(answers: Iterator[Answer]) -> list[tuple[str, str, str | None, object]]:
    """Return answers without what differs from run to run, arrays as their bytes."""
    return [(answer.id, str(answer.image), answer.error, [_bits(hit) for hit in answer.hits]) for answer in answers]


def _bits(hit: Hit) -> tuple[object, ...]:
    arrays = hit.match.transform.matrix, hit.match.query_points, hit.match.image_points, hit.match.polygon
    return hit.rank, hit.path, hit.page, hit.score, hit.false_alarms, *(array.tobytes() for array in arrays)


def test_an_index_is_the_same_as_made_here_though_a_worker_is_killed(
    cluster: Cluster, scans: Path, tmp_path: Path
) -> None:
    (scans / "scan11.png").write_bytes(UNREADABLE)

    def progress(done: int, total: int, *_: int) -> None:
        assert total == len(FILES)
        if done == 8:
            kill_one(cluster)

    for name in ("here", "there"):
        with Index.create(tmp_path / name, SETTINGS) as made:
            options = {"workers": 0} if name == "here" else {"cluster": cluster, "progress": progress}
            report = made.add([scans], encoder_factory=FakeEncoder, **options)
            assert report.added == len(FILES) - 1
            assert [reason for _, reason in report.failed] == ["cannot be read; get a fresh copy"]
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_a_file_that_kills_its_workers_is_a_failure_and_the_others_are_in(
    cluster: Cluster, scans: Path, tmp_path: Path
) -> None:
    (scans / "scan05.png").write_bytes(DEADLY)
    with Index.create(tmp_path / "index", SETTINGS) as made:
        report = made.add([scans], encoder_factory=FakeEncoder, cluster=cluster)
    assert report.added == len(FILES) - 1
    ((name, reason),) = report.failed
    assert name.endswith("scan05.png")
    assert "workers ended under it" in reason


def test_an_interrupted_addition_goes_on(cluster: Cluster, scans: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, *_: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with Index.create(tmp_path / "index", SETTINGS) as made:
        with pytest.raises(KeyboardInterrupt):
            made.add([scans], encoder_factory=FakeEncoder, cluster=cluster, progress=interrupt)
        assert len(list(made.images())) == 5
        report = made.add([scans], encoder_factory=FakeEncoder, cluster=cluster)
    assert (report.added, report.unchanged) == (len(FILES) - 5, 5)


def test_what_was_done_before_the_scheduler_was_lost_is_in(
    cluster: Cluster, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(done: int, total: int, *_: int) -> None:
        if done == 8:
            monkeypatch.setattr("index.cluster._LOOK", 0.0)
            monkeypatch.setattr(cluster.client, "nthreads", lost)

    def lost() -> None:
        raise OSError("closed")

    with Index.create(tmp_path / "index", SETTINGS) as made:
        with pytest.raises(CalqueError, match=r"scheduler at tcp://\S+ is gone; .* goes on from there"):
            made.add([scans], encoder_factory=FakeEncoder, cluster=cluster, progress=lose)
        done = len(list(made.images()))
        assert 8 <= done < len(FILES)
        monkeypatch.undo()
        report = made.add([scans], encoder_factory=FakeEncoder, cluster=cluster)
    assert (report.added, report.unchanged) == (len(FILES) - done, done)


def test_answers_are_the_same_to_the_last_digit(
    cluster: Cluster, scans_index: Path, collection: Collection, photograph: Path, tmp_path: Path
) -> None:
    queries = [Query(str(i), collection.page(name)) for i, name in enumerate(list(collection.boxes)[:4])]
    queries += [Query("archive", photograph), Query("nowhere", tmp_path / "none.jpg")]
    with Index.open(scans_index) as opened:
        only = [record.id for record in opened.images()][1:]
        here = untimed(search(opened, queries, only=only, threads=1))
        there = search(opened, queries, only=only, cluster=cluster)
        first = [next(there), next(there)]
        kill_one(cluster)
        *told, (_, _, error, _) = untimed(iter([*first, *there]))
        assert told == here[:-1]
        assert "worker tcp://" in str(error)
        assert f"{tmp_path / 'none.jpg'}: " in str(error)


def test_groups_and_traces_are_the_same(
    cluster: Cluster, scans_index: Path, collection: Collection, tmp_path: Path
) -> None:
    found = []
    for elsewhere in (None, cluster):
        with Index.open(scans_index) as opened, Links(tmp_path) as links:
            links.sweep({})
            asked = find_links(opened, links, threads=1, cluster=elsewhere)
            assert asked.images == len(collection.boxes)
            read = links.read(1.0).tobytes(), [group_as_dict(group) for group in groups(opened, links).groups]
            photos, _ = photos_of(collection.page("a/camera.jpg"))
            folder = tmp_path / str(elsewhere is None)
            with Journal(folder, opened, max_false_alarms=1.0) as journal:
                traced = untimed(trace(opened, photos, journal, cluster=elsewhere))
            found.append((*read, traced))
    assert found[0] == found[1]


def test_the_command_line_reaches_the_cluster(
    scheduler: str, scans_index: Path, collection: Collection, calque: Calque, tmp_path: Path
) -> None:
    made = tmp_path / "made.calque"
    done = calque(
        *("add", made, collection.folder.name, "--scheduler", scheduler, "--format", "json"),
        cwd=collection.folder.parent,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["added"] == len(collection.boxes)
    assert contents(made) == contents(scans_index)
    refused = calque("groups", made, "--scheduler", scheduler, "--threads", 1)
    assert refused.returncode == 2
    assert "leave --threads out" in refused.stderr


def test_a_changed_index_is_refused(scans: Path, tmp_path: Path) -> None:
    with Index.create(tmp_path / "index", SETTINGS) as made:
        made.add([scans / "scan01.png"], workers=0, encoder_factory=FakeEncoder)
    with pytest.raises(CalqueError, match=r"index has been changed meanwhile; run the same command again"):
        Index.open(tmp_path / "index", state=(7, 8))


def test_a_file_that_a_worker_does_not_see_is_named(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "3").touch()
    with cluster.pool(partial, (neg,), lambda number: tmp_path / str(number)) as pool:
        results = dict(pool.map([3, 4]))
    assert results[3] == -3
    failed = results[4]
    assert isinstance(failed, Failed)
    assert failed.reason.startswith(f"{tmp_path / '4'}: worker tcp://")
    assert "folder that all workers share" in failed.reason


def test_other_versions_are_refused(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "9.9")
    with pytest.raises(SettingsMismatch, match=r"worker tcp://\S+ has calque \S+, but 9\.9 is used here"):
        Cluster(scheduler)


def test_where_there_is_no_cluster_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CalqueError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 .*`dask scheduler`"):
        Cluster("tcp://127.0.0.1:9", patience=0.3)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        pytest.raises(CalqueError, match=r"has no workers; start some with `dask worker tcp://"),
    ):
        Cluster(empty.scheduler_address, patience=0.3)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependency, match=r"pip install 'calque\[cluster\]'"):
        Cluster("tcp://127.0.0.1:9")
