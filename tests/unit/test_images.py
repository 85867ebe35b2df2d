"""Every kind of scan is read right: format, depth, colour model, orientation, page and working size."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pypdfium2
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from matcher.errors import InputError
from matcher.images import IMAGE_SUFFIXES, Scan, page_count, read_image
from matcher.pixels import eight_bits
from tests.scan_files import difference, gray_tiff, luma, save, scanned_pdf, smooth, waves

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize(
    ("suffix", "options", "tolerance"),
    [
        (".png", {}, 1),
        (".bmp", {}, 1),
        (".ppm", {}, 1),
        (".jpg", {"quality": 97}, 4),
        (".jpg", {"quality": 97, "progressive": True}, 4),
        (".jpg", {"quality": 97, "keep_rgb": True}, 4),
        (".webp", {"lossless": True}, 1),
        (".webp", {"quality": 98}, 8),
        (".jp2", {}, 1),
        (".j2k", {"irreversible": True, "quality_mode": "rates", "quality_layers": [4]}, 4),
        (".avif", {"quality": 98}, 6),
        (".tif", {}, 1),
        (".tif", {"compression": "tiff_lzw"}, 1),
        (".tif", {"compression": "tiff_adobe_deflate"}, 1),
        (".tif", {"compression": "packbits"}, 1),
        (".tif", {"compression": "jpeg", "quality": 97}, 8),
        (".tif", {"big_tiff": True}, 1),
    ],
)
def test_colour_and_gray_are_read_from_every_format(
    tmp_path: Path, suffix: str, options: dict[str, Any], tolerance: int
) -> None:
    path = save(tmp_path / f"picture{suffix}", smooth(), **options)
    colour, gray = read_image(path, gray=False), read_image(path)
    assert difference(colour.pixels, smooth()) <= max(tolerance - 1, 0) * 2
    assert difference(gray.pixels, luma(smooth())) <= tolerance
    assert (gray.width, gray.height, gray.scale_x, gray.scale_y) == (130, 90, 1.0, 1.0)
    assert gray.pixels.dtype == colour.pixels.dtype == np.uint8
    assert not gray.pixels.flags.writeable
    assert gray.pixels.flags.c_contiguous
    assert page_count(path) == 1


def test_the_format_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    save(tmp_path / "picture.png", smooth()).rename(tmp_path / "picture.jpg")
    assert difference(read_image(tmp_path / "picture.jpg").pixels, luma(smooth())) <= 1


@pytest.mark.parametrize("suffix", [".png", ".gif", ".bmp", ".tif", ".pgm", ".jp2"])
def test_gray_files_stay_as_they_are(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"gray{suffix}", luma(smooth()))
    assert difference(read_image(path).pixels, luma(smooth())) == 0
    colour = read_image(path, gray=False).pixels
    assert all(difference(colour[..., band], luma(smooth())) == 0 for band in range(3))


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".png", {}),
        (".pbm", {}),
        (".bmp", {}),
        (".tif", {}),
        (".tif", {"compression": "group3"}),
        (".tif", {"compression": "group4"}),
        (".tif", {"compression": "group4", "tiffinfo": {262: 0}}),
        (".tif", {"compression": "group4", "tiffinfo": {266: 2}}),
    ],
)
def test_bilevel_scans(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    ink = luma(smooth()) > 120
    path = save(tmp_path / f"bilevel{suffix}", Image.fromarray(ink), **options)
    assert difference(read_image(path).pixels, ink.astype(np.uint8) * 255) == 0


def test_sixteen_bits_give_their_high_byte(tmp_path: Path) -> None:
    deep = luma(smooth()).astype(np.uint16) << 8 | 0x5A
    paths = [
        save(tmp_path / "deep.png", deep),
        save(tmp_path / "deep.tif", deep),
        save(tmp_path / "lzw.tif", deep, compression="tiff_lzw"),
        save(tmp_path / "deep.jp2", deep),
        save(tmp_path / "deep.pgm", Image.fromarray(deep.astype(np.int32))),
        gray_tiff(tmp_path / "white-is-zero.tif", 65535 - deep, photometric=0),
    ]
    cv2.imwrite(str(tmp_path / "big-endian.pgm"), deep)
    for path in [*paths, tmp_path / "big-endian.pgm"]:
        assert difference(read_image(path).pixels, luma(smooth())) == 0, path


def test_sixteen_bit_colour(tmp_path: Path) -> None:
    deep = smooth().astype(np.uint16) << 8 | 0x5A
    for name in ("colour.png", "colour.tif"):
        cv2.imwrite(str(tmp_path / name), deep[..., ::-1])
        assert difference(read_image(tmp_path / name, gray=False).pixels, smooth()) == 0, name


def test_twelve_bits_in_sixteen_are_not_left_dark(tmp_path: Path) -> None:
    path = save(tmp_path / "sensor.tif", luma(smooth()).astype(np.uint16) << 4)
    assert difference(read_image(path).pixels, luma(smooth())) == 0


def test_floats_and_long_integers(tmp_path: Path) -> None:
    gray = luma(smooth())
    unit = gray_tiff(tmp_path / "unit.tif", (gray / 255).astype(np.float32), sample_format=3)
    assert difference(read_image(unit).pixels, gray) == 0
    stretched = np.rint((gray - float(gray.min())) * 255 / float(np.ptp(gray))).astype(np.uint8)
    heights = np.where(gray == gray.min(), np.nan, gray * 10.0 - float(gray.min()) * 10)
    for name, values, kind in [
        ("heights", heights.astype(np.float32), 3),
        ("signed", gray.astype(np.int32) * 8_000_000 - 1_000_000_000, 2),
        ("unsigned", gray.astype(np.uint32) * 16_843_009, 1),
    ]:
        path = gray_tiff(tmp_path / f"{name}.tif", values, sample_format=kind)
        assert difference(read_image(path).pixels, stretched) <= 1, name
    flat = gray_tiff(tmp_path / "flat.tif", np.full((4, 5), 1e9, np.float32), sample_format=3)
    assert not read_image(flat).pixels.any()


def test_palettes(tmp_path: Path) -> None:
    indexed = Image.fromarray(smooth()).quantize(16)
    expected = np.asarray(indexed.convert("RGB"))
    for suffix in ("png", "gif", "tif", "bmp"):
        path = save(tmp_path / f"palette.{suffix}", indexed)
        assert difference(read_image(path, gray=False).pixels, expected) == 0, suffix
        assert difference(read_image(path).pixels, luma(expected)) <= 1, suffix


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    alpha = np.zeros((90, 130), np.uint8)
    alpha[:, 40:] = 128
    alpha[:, 80:] = 255
    rgba = np.dstack([smooth(), alpha])
    paper = smooth().astype(float) * (alpha[..., None] / 255) + 255.0 * (1 - alpha[..., None] / 255)
    expected = np.rint(paper).astype(np.uint8)
    for suffix, options in [("png", {}), ("webp", {"lossless": True, "exact": True}), ("tif", {}), ("jp2", {})]:
        path = save(tmp_path / f"alpha.{suffix}", rgba, **options)
        assert difference(read_image(path, gray=False).pixels, expected) <= 1, suffix
    gray_alpha = Image.merge("LA", [Image.fromarray(luma(smooth())), Image.fromarray(alpha)])
    assert difference(read_image(save(tmp_path / "la.png", gray_alpha)).pixels, luma(expected)) <= 2


def test_transparent_palette_entries_and_colour_keys_are_white(tmp_path: Path) -> None:
    indexed = Image.fromarray(np.arange(20, dtype=np.uint8).reshape(4, 5) % 4, "P")
    indexed.putpalette([0, 0, 0, 50, 50, 50, 100, 100, 100, 150, 150, 150])
    expected = np.array([0, 255, 100, 150], np.uint8)[np.asarray(indexed)]
    for name, key in [("one.png", 1), ("bytes.png", b"\xff\x00\xff\xff"), ("one.gif", 1)]:
        path = save(tmp_path / name, indexed, transparency=key)
        assert difference(read_image(path).pixels, expected) == 0, name
    gray = save(tmp_path / "key.png", expected, transparency=100)
    assert difference(read_image(gray).pixels, np.where(expected == 100, 255, expected).astype(np.uint8)) == 0


def test_cmyk(tmp_path: Path) -> None:
    ink = Image.fromarray(255 - np.dstack([smooth(), np.full((90, 130), 255, np.uint8)]), "CMYK")
    jpeg, plain = save(tmp_path / "cmyk.jpg", ink, quality=97), save(tmp_path / "cmyk.tif", ink)
    assert b"Adobe" in jpeg.read_bytes()[:200]  # an Adobe file, which stores its inks inverted
    assert difference(read_image(plain, gray=False).pixels, smooth()) == 0
    assert difference(read_image(jpeg, gray=False).pixels, smooth()) <= 10
    assert difference(read_image(jpeg).pixels, luma(smooth())) <= 4
    assert read_image(jpeg, long_side=40).pixels.shape == (28, 40)


def test_lab(tmp_path: Path) -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    picture = ImageCms.profileToProfile(Image.fromarray(smooth()), srgb, lab, outputMode="LAB")
    path = save(tmp_path / "lab.tif", picture)
    assert np.abs(read_image(path, gray=False).pixels.astype(int) - smooth()).mean() < 2  # 8 bits of Lab are coarse


def test_colour_profiles_are_left_alone(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    path = save(tmp_path / "profiled.png", smooth(), icc_profile=profile)
    assert difference(read_image(path, gray=False).pixels, smooth()) == 0


def test_planes_and_tiles_in_tiff(tmp_path: Path) -> None:
    tags = {256: 130, 257: 90, 259: 1, 262: 2, 277: 3, 278: 90, 284: 2}
    planes = np.ascontiguousarray(smooth().transpose(2, 0, 1)).tobytes()
    start, size = 8 + len(planes), 130 * 90
    table = [(t, 4, 1, v) for t, v in tags.items()]
    # three strips, one a plane: offsets and lengths lie behind the directory
    behind = start + 2 + 12 * (len(table) + 3) + 4
    table += [(258, 3, 3, behind + 24), (273, 4, 3, behind), (279, 4, 3, behind + 12)]
    directory = struct.pack("<H", len(table)) + b"".join(struct.pack("<HHII", *e) for e in sorted(table)) + bytes(4)
    extra = struct.pack("<6I3H", 8, 8 + size, 8 + 2 * size, size, size, size, 8, 8, 8)
    path = tmp_path / "planes.tif"
    path.write_bytes(struct.pack("<2sHI", b"II", 42, start) + planes + directory + extra)
    assert difference(read_image(path, gray=False).pixels, smooth()) == 0


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_turns(tmp_path: Path, suffix: str, turn: int) -> None:
    upright = smooth(160, 240)
    # how EXIF defines each value: where row 0 and column 0 of the stored pixels belong
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[turn]
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {".jpg": {"quality": 97}, ".webp": {"lossless": True}}.get(suffix, {})
    path = save(tmp_path / f"turned{suffix}", np.ascontiguousarray(stored), exif=exif, **options)
    whole = read_image(path)
    assert (whole.width, whole.height) == (240, 160)
    assert difference(whole.pixels, luma(upright)) <= 4
    small = read_image(path, long_side=99)
    assert (small.width, small.height) == (240, 160)
    assert small.pixels.shape == (66, 99)
    assert (small.scale_x, small.scale_y) == pytest.approx((240 / 99, 160 / 66))


def test_a_damaged_or_senseless_turn_is_no_turn(tmp_path: Path) -> None:
    for number, block in enumerate(
        [b"Exif\0\0junk", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x01"]
    ):
        path = save(tmp_path / f"{number}.jpg", smooth(), exif=block, quality=97)
        assert difference(read_image(path).pixels, luma(smooth())) <= 4
    profile = PngInfo()
    profile.add_text("Raw profile type exif", "\nexif\n4\nno hexadecimal digits")
    assert difference(read_image(save(tmp_path / "profile.png", smooth(), pnginfo=profile)).pixels, luma(smooth())) <= 1
    exif = Image.Exif()
    exif[0x0112] = 77
    assert read_image(save(tmp_path / "77.jpg", smooth(), exif=exif)).pixels.shape == (90, 130)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".jp2", ".tif"])
@pytest.mark.parametrize("size", [(800, 640), (803, 597), (601, 905)])
@pytest.mark.parametrize("long_side", [1600, 402, 199, 100])
def test_working_size_keeps_places(tmp_path: Path, suffix: str, size: tuple[int, int], long_side: int) -> None:
    """What lies at a pixel of the working size lies where the scale says on the original."""
    height, width = size
    original = waves(height, width)
    options = {".jpg": {"quality": 95}, ".png": {"compress_level": 1}}.get(suffix, {})
    scan = read_image(save(tmp_path / f"large{suffix}", original, **options), long_side=long_side)
    rows, columns = scan.pixels.shape
    assert max(rows, columns) == min(long_side, max(size))
    assert (scan.width, scan.height) == (width, height)
    x = ((np.arange(columns) + 0.5) * scan.scale_x - 0.5).astype(np.float32)
    y = ((np.arange(rows) + 0.5) * scan.scale_y - 0.5).astype(np.float32)
    assert x[-1] <= width
    assert y[-1] <= height

    there = cv2.remap(original, *np.meshgrid(x, y), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(float)
    inner = np.s_[2:-2, 2:-2]
    for gradient in np.gradient(there):
        # Lucas and Kanade: the shift, in working pixels, that explains the difference best
        slope = gradient[inner]
        shift = (slope * (there - scan.pixels)[inner]).sum() / (slope**2).sum()
        assert abs(shift) < 0.03


def test_images_are_never_enlarged(tmp_path: Path) -> None:
    path = save(tmp_path / "small.png", smooth())
    scan = read_image(path, long_side=4000)
    assert (scan.pixels.shape, scan.scale_x, scan.scale_y) == ((90, 130), 1.0, 1.0)
    with pytest.raises(ValueError, match="long_side"):
        read_image(path, long_side=0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 20_001), (2, 2)])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jp2", ".tif"])
def test_tiny_and_drawn_out_images(tmp_path: Path, suffix: str, shape: tuple[int, int]) -> None:
    path = save(tmp_path / f"odd{suffix}", np.full(shape, 200, np.uint8))
    for long_side in (None, 1000, 1):
        scan = read_image(path, long_side=long_side)
        assert min(scan.pixels.shape) >= 1
        assert max(scan.pixels.shape) == min(max(shape), long_side or max(shape))
        assert (scan.height, scan.width) == shape
        assert np.abs(scan.pixels.astype(int) - 200).max() <= 2


def test_tiff_pages(tmp_path: Path) -> None:
    pages = [Image.fromarray(luma(smooth(40 + n, 50, seed=n))) for n in range(5)]
    path = save(tmp_path / "pages.tif", pages[0], save_all=True, append_images=pages[1:], compression="tiff_lzw")
    assert page_count(path) == 5
    for number, page in enumerate(pages):
        assert difference(read_image(path, number).pixels, np.asarray(page)) == 0


def test_reduced_copies_in_a_tiff_are_not_pages(tmp_path: Path) -> None:
    full = Image.fromarray(luma(smooth(64, 80)))
    second = Image.fromarray(luma(smooth(60, 70, seed=2)))
    reduced, thumbnail = full.resize((40, 32)), second.resize((10, 10))
    for image, kind in ((full, 0), (reduced, 1), (second, 0), (thumbnail, 1)):
        image.encoderinfo = {"tiffinfo": {254: kind}}
    path = tmp_path / "pyramid.tif"
    full.save(path, save_all=True, append_images=[reduced, second, thumbnail], tiffinfo={254: 0})
    assert page_count(path) == 2
    assert read_image(path, 1).pixels.shape == (60, 70)


def test_a_lone_reduced_copy_is_a_page_after_all(tmp_path: Path) -> None:
    path = save(tmp_path / "thumbnail.tif", luma(smooth()), tiffinfo={254: 1})
    assert page_count(path) == 1
    assert difference(read_image(path).pixels, luma(smooth())) == 0


def test_an_undecodable_page_spares_the_others(tmp_path: Path) -> None:
    pages = [Image.fromarray(luma(smooth(seed=n))) for n in range(3)]
    path = save(tmp_path / "pages.tif", pages[0], save_all=True, append_images=pages[1:])
    data = bytearray(path.read_bytes())
    bits = struct.pack("<HHIHH", 258, 3, 1, 8, 0)  # the tag BitsPerSample, as Pillow writes it
    second = data.index(bits, data.index(bits) + 1)
    data[second : second + len(bits)] = struct.pack("<HHIHH", 258, 3, 1, 7, 0)
    path.write_bytes(data)
    assert page_count(path) == 3
    assert difference(read_image(path, 2).pixels, np.asarray(pages[2])) == 0
    with pytest.raises(InputError, match=r"pages\.tif: damaged, or of a kind that cannot be decoded"):
        read_image(path, 1)


def test_only_the_first_picture_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.fromarray(luma(smooth(seed=n))) for n in range(3)]
    for suffix, options in [("gif", {}), ("webp", {"lossless": True}), ("png", {})]:
        path = save(tmp_path / f"moving.{suffix}", frames[0], save_all=True, append_images=frames[1:], **options)
        assert page_count(path) == 1
        assert difference(read_image(path).pixels, np.asarray(frames[0])) <= 1


def test_a_scan_in_a_pdf_keeps_its_pixels(tmp_path: Path) -> None:
    scan = smooth(900, 700)
    path = scanned_pdf(tmp_path / "scan.pdf", Image.fromarray(scan), Image.fromarray(luma(scan)[:500]))
    assert page_count(path) == 2
    whole = read_image(path, gray=False)
    assert (whole.width, whole.height, whole.scale_x) == (700, 900, 1.0)
    assert difference(whole.pixels, scan) <= 10
    assert difference(read_image(path).pixels, luma(scan)) <= 5
    assert read_image(path, 1).pixels.shape == (500, 700)
    small = read_image(path, long_side=301)
    assert small.pixels.shape == (301, 235)
    assert (small.scale_x, small.scale_y) == pytest.approx((700 / 235, 900 / 301))
    assert difference(small.pixels, cv2.resize(luma(scan), (235, 301), interpolation=cv2.INTER_AREA)) <= 6


def test_a_pdf_without_scans_counts_300_dots_an_inch(tmp_path: Path) -> None:
    document = pypdfium2.PdfDocument.new()
    document.new_page(144, 72)
    document.new_page(14_400, 7_200)
    document.save(tmp_path / "plain.pdf")
    scan = read_image(tmp_path / "plain.pdf", gray=False)
    assert (scan.width, scan.height) == (600, 300)
    assert scan.pixels.shape == (300, 600, 3)
    assert scan.pixels.min() == 255
    huge = read_image(tmp_path / "plain.pdf", 1, long_side=200)
    assert (huge.width, huge.height, huge.pixels.shape) == (10_000, 5_000, (100, 200))


def test_a_scan_holds_read_only_pixels() -> None:
    pixels = np.zeros((3, 4), np.uint8)
    scan = Scan(pixels, 4, 3, 1.0, 1.0)
    with pytest.raises(ValueError, match="read-only"):
        scan.pixels[0, 0] = 1
    assert pixels.flags.writeable


def test_suffixes_are_lower_case_with_a_dot() -> None:
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in IMAGE_SUFFIXES)
    assert {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".jp2", ".jpf", ".webp", ".gif", ".bmp", ".pdf"} <= IMAGE_SUFFIXES


def test_real_pages_agree_with_opencv(shared_data: Path) -> None:
    paths = sorted((shared_data / "pages").rglob("*.jpg"))[::80]
    assert paths
    for path in paths:
        expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert difference(read_image(path).pixels, expected) <= 2, path


def test_odd_but_harmless_files_are_read_without_a_warning(tmp_path: Path) -> None:
    path = gray_tiff(tmp_path / "odd.tif", luma(smooth()))
    data = bytearray(path.read_bytes())
    # a tag whose value lies beyond the end of the file
    start = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<H", data, start, entries + 1)
    data[start + 2 + 12 * entries : start + 2 + 12 * entries] = struct.pack("<HHII", 700, 1, 5000, 10**9)
    path.write_bytes(data)
    assert difference(read_image(path).pixels, luma(smooth())) == 0


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_legitimate_giant_passes_without_a_word(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's own limit, which warns beyond it and refuses beyond twice it, has no say."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    image = Image.fromarray(luma(smooth(900, 1200)))
    path = tmp_path / f"giant{suffix}"
    image.save(path)
    assert read_image(path, long_side=400).pixels.shape == (300, 400)
    assert page_count(path) == 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr", "LAB", "I", "I;16", "F"])
@pytest.mark.parametrize("gray", [True, False])
def test_bands_do_not_show(mode: str, gray: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is converted in pieces, to spare memory, is what conversion at once gives."""
    channels = [Image.fromarray(smooth(97, 61, seed)[..., 0]) for seed in range(4)]
    values = np.asarray(channels[0])
    if mode in ("I", "F"):
        image = Image.fromarray((values * 300.0 - 5000).astype({"I": "i4", "F": "f4"}[mode]))
    elif mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16) * 257)
    elif mode == "RGBa":
        image = Image.merge("RGBA", channels).convert(mode)
    elif mode in ("1", "L", "P"):
        image = channels[0].convert(mode)
    else:
        image = Image.merge(mode, channels[: len(Image.new(mode, (1, 1)).getbands())])
    assert image.mode == mode
    at_once = eight_bits(image, gray)
    monkeypatch.setattr("matcher.pixels._BAND", 61 * 7)
    np.testing.assert_array_equal(eight_bits(image, gray), at_once)
