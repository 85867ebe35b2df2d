"""Zones of pages from ALTO, PAGE and COCO, and volumes described by METS: units, kinds, damage, where images lie."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from index.items import SourceFailure, SourceItem
from index.sources import expand_all
from index.store import Index
from index.zones import ZoneFinder, file_zones, read_zones
from matcher.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from index.annotations import Zone
    from tests.conftest import Calque, Collection

SIZE = (600, 800)
"""Pixels of the pages."""

ALTO = """<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#">
  <Description>
    <MeasurementUnit>{unit}</MeasurementUnit>
    <sourceImageInformation><fileName>{image}</fileName></sourceImageInformation>
  </Description>
  <Tags><OtherTag ID="T1" LABEL="DropCapitalZone"/></Tags>
  <Layout><Page ID="P1" WIDTH="{width}" HEIGHT="{height}" PHYSICAL_IMG_NR="1"><PrintSpace>
    <TextBlock ID="b1" HPOS="{x}" VPOS="{y}" WIDTH="{w}" HEIGHT="{h}"/>
    <Illustration ID="b2" HPOS="{x}" VPOS="{y}" WIDTH="{w}" HEIGHT="{h}"/>
    <TextBlock ID="b3" TAGREFS="T1" HPOS="{x}" VPOS="{y}" WIDTH="{w}" HEIGHT="{h}"/>
    <TextBlock ID="b4" HPOS="0" VPOS="0" WIDTH="0" HEIGHT="0"/>
  </PrintSpace></Page></Layout>
</alto>
"""

PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">
  <Page imageFilename="{image}" imageWidth="{width}" imageHeight="{height}">
    <TextRegion id="r1" type="paragraph"><Coords points="10,10 110,10 110,60 10,60"/></TextRegion>
    <ImageRegion id="r2"><Coords points="100,200 300,200 300,400 200,450 100,400"/></ImageRegion>
    <TextRegion id="r3" custom="structure {{type:drop-capital;}}"><Coords points="5,5 50,5 50,50 5,50"/></TextRegion>
    <NoiseRegion id="r4"><Coords points="0,0 9,0 9,9 0,9"/></NoiseRegion>
  </Page>
</PcGts>
"""

METS = """<?xml version="1.0" encoding="UTF-8"?>
<mets xmlns="http://www.loc.gov/METS/" xmlns:xlink="http://www.w3.org/1999/xlink" LABEL="Weekly, no. 7">
  <dmdSec ID="d"><mdWrap MDTYPE="MODS"><xmlData><mods xmlns="http://www.loc.gov/mods/v3">
    <titleInfo><title>The weekly</title></titleInfo><originInfo><dateIssued>1912-05-04</dateIssued></originInfo>
  </mods></xmlData></mdWrap></dmdSec>
  <fileSec>
    <fileGrp USE="THUMBS"><file ID="t1" MIMETYPE="image/png"><FLocat xlink:href="thumbs/1.png"/></file></fileGrp>
    <fileGrp USE="IMAGES">
      <file ID="i2" MIMETYPE="image/png"><FLocat LOCTYPE="URL" xlink:href="images/page%202.png"/></file>
      <file ID="i1" MIMETYPE="image/png"><FLocat LOCTYPE="URL" xlink:href="images/page 1.png"/></file>
    </fileGrp>
    <fileGrp USE="ALTO"><file ID="a1" MIMETYPE="text/xml"><FLocat xlink:href="alto/first.xml"/></file></fileGrp>
  </fileSec>
  <structMap TYPE="PHYSICAL"><div TYPE="issue">
    <div TYPE="page" ORDERLABEL="1"><fptr FILEID="t1"/><fptr FILEID="i1"/><fptr FILEID="a1"/></div>
    <div TYPE="page" ORDERLABEL="2"><fptr FILEID="i2"/></div>
  </div></structMap>
</mets>
"""

BOMB = """<?xml version="1.0"?>
<!DOCTYPE alto [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<alto><fileName>&b;</fileName></alto>
"""


def alto(folder: Path, *, unit: str = "pixel", scale: float = 1.0, image: str = "p1.png", name: str = "p1.xml") -> Path:
    """Write an ALTO file of a page of `SIZE`, `scale` units to the pixel, with blocks at 60, 80, 300 × 200 pixels."""
    named = dict(zip(("width", "height", "x", "y", "w", "h"), (*SIZE, 60, 80, 300, 200), strict=True))
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ALTO.format(unit=unit, image=image, **{key: value * scale for key, value in named.items()}))
    return path


def page(folder: Path, name: str = "p1.png") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(SIZE, 60).save(path)
    return path


def zones_of(path: Path) -> tuple[Zone, ...]:
    (told,) = file_zones(path) or ()
    return told.on(*SIZE)


@pytest.mark.parametrize(
    ("unit", "scale"), [("pixel", 1.0), ("pixel", 2.0), ("mm10", 254 / 300), ("inch1200", 4.0), ("inch1200", 1200 / 72)]
)
def test_alto_is_brought_to_the_pixels_of_the_image(tmp_path: Path, unit: str, scale: float) -> None:
    zones = zones_of(alto(tmp_path, unit=unit, scale=scale))
    assert [(zone.kind, zone.label) for zone in zones] == [
        ("text", "TextBlock"),
        ("illustration", "Illustration"),
        ("initial", "DropCapitalZone"),
    ]
    for zone in zones:
        assert zone.box.as_list() == pytest.approx([60, 80, 300, 200])
        assert zone.origin == "alto"


def test_alto_without_the_size_of_the_page(tmp_path: Path) -> None:
    path = alto(tmp_path)
    path.write_text(path.read_text().replace(' WIDTH="600.0" HEIGHT="800.0"', ""))
    assert zones_of(path)[0].box.as_list() == [60, 80, 300, 200]
    path.write_text(path.read_text().replace("pixel", "mm10"))
    with pytest.raises(InputError, match=r"p1\.xml: measures in mm10, but its page has no size"):
        file_zones(path)


def test_page_xml(tmp_path: Path) -> None:
    path = tmp_path / "p1.xml"
    path.write_text(PAGE.format(image="p1.png", width=1200, height=1600))  # twice the image's pixels
    text, picture, initial, noise = zones_of(path)
    assert [zone.kind for zone in (text, picture, initial, noise)] == ["text", "illustration", "initial", "other"]
    assert text.box.as_list() == [5, 5, 50, 25]
    assert text.polygon is None
    assert picture.box.as_list() == [50, 100, 100, 125]
    assert picture.polygon == ((50, 100), (150, 100), (150, 200), (100, 225), (50, 200))


def coco(folder: Path, **more: Any) -> Path:
    document = {
        "images": [
            {"id": 7, "file_name": "p1.png", "width": 1200, "height": 1600},
            {"id": 8, "file_name": "elsewhere.png", "width": 10, "height": 10},
        ],
        "categories": [{"id": 1, "name": "Photograph"}, {"id": 2, "name": "Stain"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "bbox": [120, 160, 600, 400], "score": 0.5},
            {"id": 2, "image_id": 7, "category_id": 2, "segmentation": [[0, 0, 40, 0, 0, 40]]},
            {"id": 3, "image_id": 7, "category_id": 2, "bbox": [2000, 2000, 9, 9]},
        ],
        **more,
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(document))
    return path


def test_coco(tmp_path: Path) -> None:
    first, other = file_zones(coco(tmp_path)) or ()
    assert (first.image, other.zones) == ("p1.png", ())
    photograph, stain = first.on(*SIZE)  # the third lies beside the image
    assert (photograph.kind, photograph.label, photograph.score) == ("illustration", "Photograph", 0.5)
    assert photograph.box.as_list() == [60, 80, 300, 200]
    assert (stain.kind, stain.polygon) == ("other", ((0, 0), (20, 0), (0, 20)))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("bomb.xml", BOMB, "refused for its entities"),
        ("cut.xml", ALTO[:300], "damaged XML"),
        ("latin.xml", "<?xml version='1.0' encoding='klingon'?><alto/>", "damaged XML"),
        ("empty.xml", "", "damaged XML"),
        ("cut.json", '{"images": [', "damaged JSON"),
        ("odd.json", '{"images": [{}], "annotations": [3]}', "not as COCO has it"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: str, reason: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=f"{name}: {reason}"):
        list(read_zones(path))
    (failure,) = read_zones(tmp_path)
    assert isinstance(failure, SourceFailure)
    assert failure.name.endswith(name)
    assert failure.reason.startswith(reason)
    (failure,) = expand_all([path])
    assert isinstance(failure, SourceFailure)
    assert failure.reason.startswith(reason)


def test_what_is_no_file_of_zones(tmp_path: Path) -> None:
    (tmp_path / "note.xml").write_text("<note/>")
    (tmp_path / "note.json").write_text("[1]")
    assert list(read_zones(tmp_path)) == []
    with pytest.raises(InputError, match=r"note\.xml: neither ALTO, PAGE nor COCO"):
        list(read_zones(tmp_path / "note.xml"))


def test_zones_find_their_image(tmp_path: Path) -> None:
    """Beside the file, or a folder higher; else by name, if only one image can be meant."""
    beside = page(tmp_path, "volume/p1.png")
    alto(tmp_path, name="volume/alto/p1.xml", image="C:\\scans\\old name.tif")
    alto(tmp_path, name="apart/p2.xml", image="file:///scans/p2.tif")
    found = [item for item in read_zones(tmp_path) if not isinstance(item, SourceFailure)]
    finder = ZoneFinder(found)
    assert [told.source.name for told in finder.find(str(beside), "volume/p1.png")] == ["p1.xml"]
    assert [told.source.name for told in finder.find("/other/P2.jpg", "P2.jpg")] == ["p2.xml"]
    assert finder.find("/other/p3.jpg", "p3.jpg") == []


def test_an_alto_file_as_a_source(tmp_path: Path) -> None:
    image = page(tmp_path)
    (item,) = expand_all([alto(tmp_path)])
    assert isinstance(item, SourceItem)
    assert item.path == image.resolve()
    assert [zone.kind for zone in item.zones] == ["text", "illustration", "initial"]
    image.unlink()
    (failure,) = expand_all([tmp_path / "p1.xml"])
    assert isinstance(failure, SourceFailure)
    assert "'p1.png' is not beside it" in failure.reason


def test_a_mets_volume(tmp_path: Path) -> None:
    for name in ("images/page 1.png", "images/page 2.png", "thumbs/1.png"):
        page(tmp_path, name)
    alto(tmp_path, name="alto/first.xml", unit="inch1200", scale=4.0)
    (tmp_path / "mets.xml").write_text(METS)
    first, second = expand_all([tmp_path / "mets.xml"])
    assert isinstance(first, SourceItem)
    assert isinstance(second, SourceItem)
    assert (first.path.name, second.path.name) == ("page 1.png", "page 2.png")
    about = {"label": "Weekly, no. 7", "title": "The weekly", "date": "1912-05-04"}
    assert first.metadata == {**about, "page_label": "1"}
    assert second.metadata == {**about, "page_label": "2"}
    assert [zone.box.as_list() for zone in first.zones] == [[60, 80, 300, 200]] * 3
    assert second.zones == ()


def test_a_mets_volume_whose_files_are_damaged(tmp_path: Path) -> None:
    page(tmp_path, "images/page 1.png")
    (tmp_path / "alto").mkdir()
    (tmp_path / "alto/first.xml").write_text(BOMB)
    (tmp_path / "mets.xml").write_text(METS)
    found = list(expand_all([tmp_path / "mets.xml"]))
    failures = [item for item in found if isinstance(item, SourceFailure)]
    assert [item.path.name for item in found if isinstance(item, SourceItem)] == ["page 1.png"]
    assert "refused for its entities" in failures[0].reason
    assert failures[1].name.endswith("page 2.png")
    assert failures[1].reason.startswith("no such file")


@pytest.mark.parametrize("link", ["http://[oops/1.png", "a" * 5000 + ".png"])
def test_a_mets_volume_with_links_that_no_file_can_have(tmp_path: Path, link: str) -> None:
    (tmp_path / "mets.xml").write_text(METS.replace("images/page 1.png", link))
    failures = list(expand_all([tmp_path / "mets.xml"]))
    assert failures
    assert all(isinstance(failure, SourceFailure) for failure in failures)


@pytest.mark.compiled
def test_zones_by_the_command_line(collection: Collection, tmp_path: Path, calque: Calque) -> None:
    """Given with the pages, or of pages that are in; those of no page are told."""
    for stem in ("camera", "coins", "nowhere"):
        alto(tmp_path, name=f"alto/{stem}.xml", image=f"{stem}.tif")
    (tmp_path / "alto/bomb.xml").write_text(BOMB)
    index = tmp_path / "some.calque"
    pages = [collection.page("a/camera.jpg"), collection.page("b/coins.jpg")]
    done = calque("add", index, *pages, "--zones", tmp_path / "alto/camera.xml", "--workers", "0")
    assert done.returncode == 0, done.stderr
    with Index.open(index) as opened:
        told = [[zone for zone in opened.regions(image.id) if zone.origin == "alto"] for image in opened.images()]
        assert [len(zones) for zones in told] == [3, 0]
    done = calque("add", index, "--zones", tmp_path / "alto", "--format", "json")
    assert done.returncode == 1
    assert "nowhere.xml: 'nowhere.tif' is no image of the index" in done.stderr
    assert "bomb.xml: refused for its entities" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["added"], summary["failed"], summary["unmatched"]) == (0, 1, 1)
    with Index.open(index) as opened:
        for image in opened.images():
            zones = [zone for zone in opened.regions(image.id) if zone.origin == "alto"]
            assert [zone.kind for zone in zones] == ["text", "illustration", "initial"]
            expected = [60 * image.width / 600, 80 * image.height / 800]
            assert zones[0].box.as_list()[:2] == pytest.approx(expected)
