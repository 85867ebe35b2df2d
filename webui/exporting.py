"""What was found as files to download: tables, annotations, data sets, graphs, pictures."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from index.answers import answer_as_dict
from index.api import rows
from index.exports import Finding, coco, findings, graphml, slug
from index.groups import Group, group_as_dict, group_findings, group_graph
from index.web_annotations import manifest
from webui.drawing import write_crops
from webui.problems import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from index.answers import Answer
    from webui.contract import Call
    from webui.shelf import Snapshot

__all__ = ["GROUP_KINDS", "KINDS", "answer_file", "crops_file", "groups_file", "likeness_file"]

KINDS = {
    "csv": "text/csv",
    "jsonl": "application/jsonl",
    "iiif": "application/ld+json",
    "coco": "application/json",
    "pictures": "application/zip",
}
"""Media types of the forms that an answer is given in."""

GROUP_KINDS = {**{form: KINDS[form] for form in ("csv", "jsonl", "iiif", "coco")}, "graphml": "application/graphml+xml"}
"""Media types of the forms that groups are given in."""

_SUFFIXES = {"iiif": "iiif.json", "coco": "coco.json", "pictures": "zip"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_CROPS_SECONDS = 600.0


def answer_file(call: Call, snapshot: Snapshot, answer: Answer, form: str) -> Response:
    """Return an answer as a file of one of `KINDS`, but pictures."""
    if form == "csv":
        content = _table(list(rows([answer])))
    elif form == "jsonl":
        content = json.dumps(answer_as_dict(answer)) + "\n"
    else:
        content = _document(call, form, findings(snapshot.index, [answer]))
    return _file(content, KINDS[form], f"{slug(answer.id)}-found", form)


def groups_file(call: Call, groups: Sequence[Group], form: str) -> Response:
    """Return groups as a file of one of `GROUP_KINDS`."""
    if form == "csv":
        content = _table(list(rows(groups)))
    elif form == "jsonl":
        content = "".join(json.dumps(group_as_dict(group)) + "\n" for group in groups)
    elif form == "graphml":
        content = "".join(graphml(*group_graph(groups)))
    else:
        content = _document(call, form, group_findings(groups))
    return _file(content, GROUP_KINDS[form], f"{slug(call.index)}-groups", form)


def likeness_file(alike: Sequence[dict[str, Any]], form: str, name: str) -> Response:
    """Return what is like something as a file, ``csv`` or ``jsonl``; paths on this machine stay here."""
    told = [{key: value for key, value in one.items() if key != "path"} for one in alike]
    content = _table(told) if form == "csv" else "".join(json.dumps(one) + "\n" for one in told)
    return _file(content, KINDS[form], f"{slug(name)}-alike", form)


async def crops_file(call: Call, answer: Answer) -> Response:
    """Return the hits of an answer, cut out and brought into the frame of the query, as a ZIP file."""
    folder = Path(tempfile.mkdtemp(prefix="calque-crops-"))
    try:
        await call.server.decoding.run(
            partial(call.server.decoders.do, _CROPS_SECONDS, write_crops, answer, folder / "crops")
        )
        archive = folder / "crops.zip"
        await call.server.reading.run(_archive, folder / "crops", archive)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    gone = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    headers = _attached(f"{slug(answer.id)}-found.zip")
    return FileResponse(archive, media_type=KINDS["pictures"], headers=headers, background=gone)


def _archive(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:  # pictures are compressed already
        for path in sorted(folder.iterdir()):
            file.write(path, path.name)


def _document(call: Call, form: str, found: Sequence[Finding]) -> str:
    told = manifest(found, str(call.request.base_url)) if form == "iiif" else coco(found)
    return json.dumps(told, indent=2)


def _table(told: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    columns = list(dict.fromkeys(name for row in told for name in row))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in told)
    return plain(text.getvalue())


def _cell(value: object) -> object:
    if isinstance(value, list):
        return ",".join(str(_cell(item)) for item in value)
    if isinstance(value, dict | bool):
        return json.dumps(value)
    # A name that a spreadsheet would take for a formula is not to be carried out there.
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _file(content: str, kind: str, name: str, form: str) -> Response:
    return Response(content, media_type=kind, headers=_attached(f"{name}.{_SUFFIXES.get(form, form)}"))


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
