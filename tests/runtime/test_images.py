"""Images of every kind become the same pixels, and bad ones a clear error."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest

from modelzoo.errors import DataError
from modelzoo.runtime.media import images
from modelzoo.runtime.media.images import open_image, prepare_image, resize

pillow = pytest.importorskip("PIL.Image")
H, W = 6, 9
RGB = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
GREY = RGB[..., 0]


def encoded(image, format="PNG", **options) -> bytes:
    file = io.BytesIO()
    image = image if hasattr(image, "save") else pillow.fromarray(image)
    image.save(file, format, **options)
    return file.getvalue()


def same(got: np.ndarray, wanted: np.ndarray) -> None:
    assert got.dtype == np.uint8 and got.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(got, wanted)


# === Sources ===


def test_a_path_bytes_an_open_file_a_pillow_image_and_an_array_are_one_image(tmp_path):
    data = encoded(RGB)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    sources = [path, str(path), data, bytearray(data), io.BytesIO(data), pillow.fromarray(RGB), RGB]
    for source in sources:
        same(open_image(source), RGB)


@pytest.mark.parametrize(
    "array",
    [
        GREY,
        GREY[..., None],
        GREY.astype(float),
        GREY.astype("int64"),
        GREY.astype("uint16") * 257,
        np.dstack([GREY, np.full_like(GREY, 255)]),
        np.dstack([GREY] * 3 + [np.full_like(GREY, 255)]),
    ],
)
def test_grey_alpha_and_other_numbers_are_taken(array):
    same(open_image(array), np.dstack([GREY] * 3))


def test_booleans_are_black_and_white():
    same(open_image(np.eye(2, dtype=bool)), 255 * np.eye(2, dtype=np.uint8)[..., None].repeat(3, 2))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4, 3)), "not \\(2, 3, 4, 3\\)"),
        (np.zeros((2, 3, 5)), "height, width, 1 to 4"),
        (np.zeros((0, 3, 3)), "height, width"),
        (np.full((2, 2), np.nan), "not nan to nan"),
        (np.full((2, 2), 256), "not 256 to 256"),
        (np.full((2, 2), -1), "not -1 to -1"),
        (np.full((2, 2), 0.7), "nothing above 0.7"),
        (np.array([[0, 1.0001]]), "nothing above 1"),
        (np.full((2, 2), 200, "uint16"), "16 bits holds 0 to 65535(.|\\n)*nothing above 200"),
        (pillow.fromarray(np.full((2, 2), 200, "int32")), "nothing above 200"),
        (pillow.fromarray(np.full((2, 2), 70_000, "int32")), "not 70000 to 70000"),
        (np.full((2, 2), "a"), "holds numbers"),
        (None, "height, width"),
    ],
)
def test_an_array_that_is_no_image_says_why(array, message):
    with pytest.raises(DataError, match=message):
        open_image(array)


# === Files ===


def test_every_orientation_stands_upright():
    ways = {1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1]}
    turned = RGB.swapaxes(0, 1)
    ways |= {5: turned, 6: turned[:, ::-1], 7: turned[::-1, ::-1], 8: turned[::-1]}
    for orientation, wanted in ways.items():
        exif = pillow.Exif()
        exif[0x0112] = orientation
        same(open_image(encoded(RGB, exif=exif)), wanted)


def with_block(image: bytes, block: bytes) -> bytes:
    """A PNG or a JPEG with a block put where the first one may stand."""
    at = 33 if image.startswith(b"\x89PNG") else 2
    return image[:at] + block + image[at:]


def exif_of(*entries: bytes, rest: bytes = b"") -> bytes:
    """A JPEG's EXIF segment of little-endian entries, 12 bytes each."""
    body = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries)
    return b"\xff\xe1" + struct.pack(">H", len(body + rest) + 6) + body + bytes(4) + rest


TURN = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)


@pytest.mark.parametrize(
    "entry",
    [
        struct.pack("<HHII", 0x10E, 11, 1, 0),  # a description that is a float
        struct.pack("<HHII", 0x11A, 11, 2, 38),  # a resolution that is not a number
        struct.pack("<HHII", 0x8769, 4, 1, 2**32 - 1),  # a pointer to nowhere
        struct.pack("<HHII", 0x9286, 99, 1, 0),  # a type that there is not
        struct.pack("<HHII", 0x927C, 7, 2**31, 38),  # more bytes than there are
    ],
)
def test_a_damaged_tag_beside_the_orientation_leaves_it_readable(entry):
    data = with_block(encoded(RGB, "JPEG"), exif_of(TURN, entry, rest=b"\xff" * 40))
    plain = np.asarray(pillow.open(io.BytesIO(encoded(RGB, "JPEG"))))
    same(open_image(data), np.ascontiguousarray(np.rot90(plain, -1)))


def chunk(name: bytes, content: bytes, wrong: int = 0) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + content) ^ wrong)
    return struct.pack(">I", len(content)) + name + content + check


PNG_BLOCKS = {
    "a wrong checksum": chunk(b"tEXt", b"a\0b", 1),
    "a gamma of one byte": chunk(b"gAMA", b"a"),
    "no animation": chunk(b"acTL", b"a"),
    "a note that fills the memory": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**7))),
    "no EXIF": chunk(b"eXIf", b"zz"),
    "EXIF with a wrong checksum": chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0" + TURN, 1),
}


@pytest.mark.parametrize("name", PNG_BLOCKS)
def test_a_damaged_chunk_beside_the_pixels_is_passed_over(name, tmp_path):
    data = with_block(encoded(RGB), PNG_BLOCKS[name])
    same(open_image(data), RGB)
    same(open_image(io.BytesIO(data)), RGB)
    (tmp_path / "a.png").write_bytes(data)
    same(open_image(tmp_path / "a.png"), RGB)


def test_a_good_orientation_counts_beside_a_damaged_chunk():
    exif = chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0" + TURN + bytes(4))
    data = with_block(with_block(encoded(RGB), exif), PNG_BLOCKS["a wrong checksum"])
    same(open_image(data), np.ascontiguousarray(np.rot90(RGB, -1)))


def test_damage_that_changes_the_picture_is_an_error():
    for block in (chunk(b"tRNS", b"\0\1\0\2\0\3", 1), chunk(b"PLTE", b"abc", 1)):
        with pytest.raises(DataError):
            open_image(with_block(encoded(RGB), block))


@pytest.mark.parametrize("segment", [b"\xff\xe2\0\x0eICC_PROFILE\0", b"\xff\xee\0\7Adobe"])
def test_a_damaged_segment_beside_the_pixels_is_passed_over(segment):
    plain = encoded(RGB, "JPEG")
    same(open_image(with_block(plain, segment)), np.asarray(pillow.open(io.BytesIO(plain))))


def test_damaged_exif_of_a_webp_leaves_the_picture():
    same(open_image(encoded(RGB, "WEBP", lossless=True, exif=b"Exif\0\0zzzzzz")), RGB)


def test_what_is_transparent_is_white():
    alpha = np.full((H, W), 255, np.uint8)
    alpha[0], alpha[1] = 0, 128
    wanted = RGB.copy()
    wanted[0] = 255
    wanted[1] = np.rint((RGB[1] * 128.0 + 255 * 127) / 255)
    same(open_image(encoded(np.dstack([RGB, alpha]))), wanted)
    grey = open_image(encoded(pillow.fromarray(np.dstack([GREY, alpha]), "LA")))
    assert (grey[0] == 255).all() and (grey[2:] == GREY[2:, :, None]).all()


def test_a_palette_is_looked_up_and_its_transparent_colour_is_white():
    image = pillow.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    same(open_image(encoded(image))[0], [[10, 20, 30], [40, 50, 60]])
    same(open_image(encoded(image, transparency=1))[0], [[10, 20, 30], [255, 255, 255]])


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr", "LAB", "HSV"])
def test_other_colours_are_pillows_rgb(mode):
    image = pillow.fromarray(RGB).convert("L" if mode == "1" else "RGB")
    if mode == "LAB":  # which Pillow reads, and makes only of a profile
        image = pillow.frombytes("LAB", (W, H), RGB.tobytes())
    image = image.convert(mode)
    same(open_image(image), np.asarray(image.convert("RGB")))


def test_16_bits_keep_their_brightness():
    deep = np.array([[0, 257 * 100], [65535, 257 * 7]], np.uint16)
    grey = np.array([[0, 100], [255, 7]])
    same(open_image(encoded(pillow.fromarray(deep))), grey[..., None].repeat(3, 2))


def test_of_an_animation_the_first_frame_counts():
    frames = [pillow.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    same(open_image(data), np.full((2, 3, 3), (255, 0, 0), np.uint8))


def test_jpeg_and_webp_are_what_pillow_reads():
    for format in ("JPEG", "WEBP", "BMP", "TIFF"):
        data = encoded(RGB, format)
        same(open_image(data), np.asarray(pillow.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an image"),
        (b"hello, world" * 9, "not an image"),
        (encoded(RGB)[:60], "damaged|not an image"),
        (encoded(np.tile(RGB, (20, 20, 1)), "JPEG")[:700], "damaged"),
        (encoded(RGB)[:40] + b"\0" * 200, "damaged|not an image"),
    ],
)
def test_a_bad_file_is_a_clear_error_that_names_it(tmp_path, data, message):
    path = tmp_path / "bad.png"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        open_image(path)
    assert "bad.png" in str(caught.value)
    with pytest.raises(DataError, match=message):
        open_image(data)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(DataError, match="no such image file"):
        open_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="cannot be opened"):
        open_image(tmp_path)


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says that it is side x side."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_decompression_bomb_is_not_unpacked(side):
    with pytest.raises(DataError, match="over the limit of 134,217,728"):
        open_image(bomb(side))


def test_an_array_too_large_is_refused_before_it_is_copied(monkeypatch):
    monkeypatch.setattr(images, "LARGEST", 50)
    with pytest.raises(DataError, match="9 x 6 pixels, over the limit of 50"):
        open_image(RGB)


# === To the model's size ===


def test_squash_is_resize():
    wanted = resize(RGB, (4, 5), "bilinear")
    how = {"size": [4, 5], "resize": "squash", "interpolation": "bilinear"}
    same(prepare_image(RGB, how), wanted)


def test_squash_to_a_larger_square_takes_its_middle():
    how = {"size": [4, 6], "resize": "squash", "resize_to": 8}
    same(prepare_image(RGB, how), resize(RGB, (8, 8))[2:6, 1:7])


def test_crop_takes_the_middle_after_the_shorter_side_is_resize_to():
    image = np.random.default_rng(1).integers(0, 256, (30, 47, 3), np.uint8)
    longer = int(20 * 47 / 30)
    whole = resize(image, (20, longer))
    how = {"size": [16, 16], "resize": "crop", "resize_to": 20}
    left = (longer - 16) // 2
    same(prepare_image(image, how), whole[2:18, left : left + 16])
    same(
        prepare_image(image.swapaxes(0, 1), how),
        resize(image.swapaxes(0, 1), (longer, 20))[left : left + 16, 2:18],
    )


@pytest.mark.parametrize("shape", [(30, 47), (47, 30), (8, 8), (1, 99), (3, 1)])
def test_crop_alone_fills_the_size(shape):
    image = np.full((*shape, 3), 9, np.uint8)
    same(prepare_image(image, {"size": [16, 12], "resize": "crop"}), np.full((16, 12, 3), 9))


@pytest.mark.parametrize(("shape", "rows", "columns"), [((10, 20), 8, 16), ((20, 10), 16, 8)])
def test_pad_keeps_all_of_it_in_the_middle(shape, rows, columns):
    image = np.full((*shape, 3), 200, np.uint8)
    out = prepare_image(image, {"size": [16, 16], "resize": "pad", "fill": 3})
    inside = (out == 200).all(-1)
    assert (inside.any(1).sum(), inside.any(0).sum()) == (rows, columns)
    assert (out[~inside] == 3).all()
    np.testing.assert_array_equal(inside, inside[::-1, ::-1])


@pytest.mark.parametrize("how", ["squash", "crop", "pad"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1)])
def test_one_pixel_and_strips_are_images_too(shape, how):
    image = np.full((*shape, 3), 77, np.uint8)
    out = prepare_image(image, {"size": [24, 24], "resize": how})
    assert out.shape == (24, 24, 3) and (out == 77).any()


def test_an_unknown_way_to_resize_names_the_nearest():
    with pytest.raises(DataError) as caught:
        prepare_image(RGB, {"size": [4, 4], "resize": "corp"})
    assert caught.value.did_you_mean == "crop"
    for how in ("crop", "squash"):
        with pytest.raises(DataError, match="resize_to 3 leaves less than the 4 x 4"):
            prepare_image(RGB, {"size": [4, 4], "resize": how, "resize_to": 3})
