"""Small whole files of every kind that calque reads, for `benchmarks.fuzz` to damage."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from index.annotations import Judgement
from index.encoding import EncodedImage
from index.judgements import judgement_as_dict
from index.segment_writing import write_segment
from index.settings import Settings
from index.vector_files import Rows, write_vectors
from index.vocabulary import Vocabulary
from matcher.types import Region

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["samples"]

_ALTO = b"""<?xml version="1.0"?><alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Description>
<sourceImageInformation><fileName>a.png</fileName></sourceImageInformation></Description><Layout>
<Page WIDTH="30" HEIGHT="40"><PrintSpace><TextBlock HPOS="1" VPOS="2" WIDTH="9" HEIGHT="9"/>
<Illustration HPOS="3" VPOS="4" WIDTH="5" HEIGHT="6"/></PrintSpace></Page></Layout></alto>"""
_PAGE = b"""<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">
<Page imageFilename="a.png" imageWidth="30" imageHeight="40"><ImageRegion id="r"><Coords points="1,1 9,1 9,9 1,9"/>
</ImageRegion></Page></PcGts>"""
_METS = b"""<mets xmlns="http://www.loc.gov/METS/" xmlns:xlink="http://www.w3.org/1999/xlink"><fileSec>
<fileGrp USE="IMG"><file ID="f" MIMETYPE="image/png"><FLocat xlink:href="a.png" LOCTYPE="URL"/></file></fileGrp>
</fileSec><structMap TYPE="PHYSICAL"><div>
<div TYPE="page" ORDER="1"><fptr FILEID="f"/></div></div></structMap></mets>"""
_QUERIES = b"""{"id": "q1", "image": "a.png", "region": [1, 2, 3, 4], "page": 0}
{"id": "q2", "image": "a.png", "region": null}
"""
_DETECTIONS = b"image,label,score,x,y,width,height\na.png,bird,0.5,1,2,3,4\n"


def samples(folder: Path) -> dict[str, list[tuple[str, bytes]]]:
    """Return small whole files for each target: suffix and content; `folder` is for those that are written first."""
    scan = folder / "a.png"
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(scan)
    bomb = b'<?xml version="1.0"?><!DOCTYPE alto [<!ENTITY a "ha">%s]><alto>&z;</alto>' % b"".join(
        b'<!ENTITY %c "%s">' % (new, (b"&%c;" % old) * 10) for old, new in zip(b"abcdefgh", b"bcdefghz", strict=True)
    )
    outside = b'<!DOCTYPE alto [<!ENTITY x SYSTEM "file:///etc/passwd">]><alto><Page>&x;</Page></alto>'
    deep = b"<alto>" + b"<a>" * 5000
    coco = json.dumps(
        {
            "images": [{"id": 1, "file_name": "a.png", "width": 30, "height": 40}],
            "categories": [{"id": 1, "name": "illustration"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 9, 9], "segmentation": [[1, 2, 9, 2, 9, 9]]}
            ],
        }
    ).encode()
    canvas = {
        "id": "https://e.org/c",
        "type": "Canvas",
        "width": 30,
        "height": 40,
        "label": {"en": ["1r"]},
        "items": [
            {
                "type": "AnnotationPage",
                "items": [
                    {
                        "type": "Annotation",
                        "motivation": "painting",
                        "target": "https://e.org/c",
                        "body": {
                            "id": "https://e.org/i.jpg",
                            "type": "Image",
                            "service": [{"id": "https://e.org/i", "type": "ImageService3"}],
                        },
                    }
                ],
            }
        ],
    }
    manifest = {
        "@context": "http://iiif.io/api/presentation/3/context.json",
        "id": "https://e.org/m",
        "type": "Manifest",
        "label": {"en": ["A"]},
        "metadata": [{"label": {"en": ["Date"]}, "value": {"en": ["1538"]}}],
        "items": [canvas],
    }
    old = {
        "@context": "http://iiif.io/api/presentation/2/context.json",
        "@id": "https://e.org/m",
        "@type": "sc:Manifest",
        "label": "A",
        "sequences": [
            {
                "canvases": [
                    {
                        "@id": "https://e.org/c",
                        "width": 30,
                        "height": 40,
                        "images": [{"resource": {"@id": "https://e.org/i.jpg", "service": {"@id": "https://e.org/i"}}}],
                    }
                ]
            }
        ],
    }
    nested = b"[" * 20000
    xml = [(".xml", content) for content in (_ALTO, _PAGE, _METS, bomb, outside, deep)]
    documents = [(".json", json.dumps(document).encode()) for document in (manifest, old)]
    lists = [(".txt", b"# a list\na.png\n\nb/c.jpg\n"), (".json", nested), (".json", coco), *documents, *xml]
    written = io.StringIO()
    csv.writer(written).writerows(
        [["file", "class", "region", "page"], ["a.png", "bird|boat", "1,2,3,4", "0"], ["a.png", 'x"y', "", ""]]
    )
    tabular = [
        (".csv", written.getvalue().encode()),
        (".tsv", written.getvalue().replace(",", "\t").encode()),
        (".csv", b"\xff\xfef\x00i\x00"),
    ]
    judged = json.dumps(judgement_as_dict(Judgement("a", 0, Region(1, 2, 3, 4), "b", 0, None, "same"))).encode()
    truth = json.dumps(
        {"queries": [{"id": "q", "image": "a.png", "region": [1, 2, 3, 4], "positives": [{"image": "b.png"}]}]}
    ).encode()
    return {
        "image": list(_images()),
        "source": [*lists, *(sample for sample in _images() if sample[0] in (".tif", ".pdf"))],
        "zones": [*xml, (".json", coco)],
        "layout truth": [(".json", coco), *xml[:2]],
        "table": tabular,
        "labels": tabular,
        "detections": [
            (".json", coco),
            (".csv", _DETECTIONS),
            (".json", documents[0][1]),
        ],
        "truth": [(".json", truth), (".jsonl", judged), (".csv", b"query,answer\na,b\n")],
        "decisions": [(".jsonl", judged)],
        "queries": [(".jsonl", _QUERIES)],
        "condition": [(".txt", b"date<1920 and (title~'vogue' or not place=\"Lyon\")"), (".txt", b"(" * 3000 + b"a=1")],
        **{kind: [(path.suffix, path.read_bytes())] for kind, path in _stores(folder).items()},
    }


def _images() -> Iterator[tuple[str, bytes]]:
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    kinds: list[tuple[str, str, str, dict[str, Any]]] = [
        (".jpg", "JPEG", "RGB", {}),
        (".jpg", "JPEG", "RGB", {"progressive": True}),
        (".jpg", "JPEG", "CMYK", {}),
        (".png", "PNG", "RGB", {}),
        (".png", "PNG", "P", {}),
        (".png", "PNG", "I;16", {}),
        *(
            (".tif", "TIFF", "1" if kind == "group4" else "RGB", {"compression": kind})
            for kind in ("raw", "tiff_lzw", "jpeg", "group4", "packbits", "tiff_deflate")
        ),
        (".tif", "TIFF", "L", {"save_all": True, "append_images": [Image.new("L", (20, 20))]}),
        (".jp2", "JPEG2000", "RGB", {}),
        (".webp", "WEBP", "RGB", {}),
        (".gif", "GIF", "P", {}),
        (".bmp", "BMP", "RGB", {}),
        (".ppm", "PPM", "RGB", {}),
        (".pdf", "PDF", "RGB", {}),
        (".avif", "AVIF", "RGB", {}),
    ]
    for suffix, name, mode, options in kinds:
        buffer = io.BytesIO()
        image = (
            Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
            if mode == "I;16"
            else Image.fromarray(noise).convert(mode)
        )
        with contextlib.suppress(KeyError, OSError):  # a format that this Pillow cannot write
            image.save(buffer, name, **options)
            yield suffix, buffer.getvalue()


def _stores(folder: Path) -> dict[str, Path]:
    """Write files of an index's own: a vocabulary of 16 words, a segment of two images, three vectors."""
    random = np.random.default_rng(0)
    unit = random.normal(size=(16, 128)).astype(np.float16)
    words = Vocabulary(
        "tiny",
        "rootsift-1(contrast=0.04)",
        unit,
        unit[:2].astype(np.float32),
        np.array([0, 8, 16]),
        random.normal(size=(64, 128)).astype(np.float32),
        np.zeros((16, 64), np.int8),
        np.empty(0, np.float32),
    )
    words.save(folder / "v.h5")
    settings = Settings(vocabulary="tiny", vocabulary_hash="0" * 64)
    images = [
        EncodedImage(
            np.sort(random.integers(0, 16, n)).astype(np.uint16),
            random.integers(0, 1 << 64, n, np.uint64),
            random.integers(0, 1 << 32, n, np.uint64).astype(np.uint32),
            30,
            40,
        )
        for n in (20, 9)
    ]
    write_segment(folder / "s.h5", enumerate(images, 1), settings)
    rows = Rows(np.array([1, 2, 3]), np.zeros((3, 4), np.float32), random.normal(size=(3, 8)).astype(np.float32))
    write_vectors(folder / "w.safetensors", "tiny", 8, [rows])
    return {"vocabulary": folder / "v.h5", "segment": folder / "s.h5", "vectors": folder / "w.safetensors"}
