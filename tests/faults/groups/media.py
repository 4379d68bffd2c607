"""Images, videos and sounds, through the functions that training and devices share."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from modelzoo.runtime.media.images import open_image, prepare_image
from modelzoo.runtime.media.sounds import prepare_sound
from modelzoo.runtime.media.videos import prepare_video
from tests.faults import mutations
from tests.faults.group import Group
from tests.faults.groups import good
from tests.test_bad_media import a_bomb

_HOW = {"size": [8, 8], "resize": "crop", "interpolation": "bicubic"}
# Suffix -> Pillow's name of the format, mode, options.
_IMAGES = {
    ".png": ("PNG", "RGBA", {}),
    ".p.png": ("PNG", "P", {"transparency": 3}),
    ".16.png": ("PNG", "I;16", {}),
    ".jpg": (
        "JPEG",
        "RGB",
        {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"},
    ),
    ".cmyk.jpg": ("JPEG", "CMYK", {"progressive": True}),
    ".webp": ("WEBP", "RGBA", {}),
    ".gif": ("GIF", "P", {}),
    ".bmp": ("BMP", "RGB", {}),
    ".tif": ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    ".f.tif": ("TIFF", "F", {}),
    ".ppm": ("PPM", "RGB", {}),
    ".tga": ("TGA", "RGB", {"compression": "tga_rle"}),
    ".ico": ("ICO", "RGBA", {"sizes": [(16, 16)]}),
    ".jp2": ("JPEG2000", "RGB", {}),
    ".eps": ("EPS", "RGB", {}),
    ".pcx": ("PCX", "RGB", {}),
    ".sgi": ("SGI", "RGB", {}),
    ".dds": ("DDS", "RGBA", {}),
}
_ANIMATIONS = (".gif", ".webp", ".png", ".tif")


@cache
def images() -> dict[str, bytes]:
    """Suffix -> a small picture in that format."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 4)).astype(np.uint8)
    pixels[4:16, 4:20] = (200, 30, 30, 128)
    whole, found = Image.fromarray(pixels, "RGBA"), {}
    for suffix, (name, mode, options) in _IMAGES.items():
        picture = whole.convert(
            "RGB" if mode in ("P", "CMYK") else "L" if mode[0] in "IF" else mode
        )
        picture = picture.convert("I").convert(mode) if mode == "I;16" else picture.convert(mode)
        file = io.BytesIO()
        picture.save(file, format=name, **options)
        found[suffix] = file.getvalue()
    frames = [whole.convert("RGB").rotate(90 * turn) for turn in range(3)]
    for suffix in _ANIMATIONS:
        file = io.BytesIO()
        name = _IMAGES[suffix][0]
        frames[0].save(file, format=name, save_all=True, append_images=frames[1:])
        found[f".a{suffix}"] = file.getvalue()
    return found


def _make_image(random: Random, folder: Path) -> Path:
    suffix, content = random.choice(list(images().items()))
    kind = random.randrange(20) if mutations.chance(random) else 2
    if kind == 0:
        side = random.choice((1000, 5000, 11000, 30_000, 2**31 - 1))
        suffix, content = ".png", a_bomb(side)
    elif kind == 1:  # another format than its name says
        suffix = random.choice(list(images()))
    elif kind > 2:
        content = mutations.damaged_bytes(random, content, head=64)
    name = f"x{suffix}"
    return good.write(folder, {name: content}) / name


def _use_image(path: Path) -> None:
    if ".a." in path.name:
        how = {"video": {"num_frames": 2}, "image": _HOW}
        assert prepare_video(path, how).shape == (2, 8, 8, 3)
    assert open_image(path.read_bytes()).dtype == np.uint8
    assert prepare_image(path, _HOW).shape == (8, 8, 3)


def _make_npy(random: Random, folder: Path) -> Path:
    frames = np.random.default_rng(0).integers(0, 256, (4, 10, 12, 3)).astype(np.uint8)
    kinds = (np.uint8, np.uint16, np.float32, np.int64, np.bool_)
    content = mutations.damaged_npy(random, frames.astype(random.choice(kinds)), folder)
    return good.write(folder, {"x.npy": content}) / "x.npy"


def _use_npy(path: Path) -> None:
    how = {"video": {"num_frames": 2}, "image": _HOW}
    assert prepare_video(path, how).shape == (2, 8, 8, 3)


# Suffix -> soundfile's names of the container and the coding.
_SOUNDS = {
    ".wav": ("WAV", "PCM_16"),
    ".u8.wav": ("WAV", "PCM_U8"),
    ".24.wav": ("WAV", "PCM_24"),
    ".32.wav": ("WAV", "PCM_32"),
    ".f.wav": ("WAV", "FLOAT"),
    ".d.wav": ("WAVEX", "DOUBLE"),
    ".a.wav": ("WAV", "ALAW"),
    ".ima.wav": ("WAV", "IMA_ADPCM"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".aiff": ("AIFF", "PCM_16"),
    ".au": ("AU", "ULAW"),
    ".caf": ("CAF", "PCM_16"),
    ".rf64.wav": ("RF64", "PCM_16"),
}


@cache
def sounds() -> dict[str, bytes]:
    """Suffix -> a fifth of a second in that coding."""
    import soundfile

    wave = 0.5 * np.sin(np.arange(3200) / 9)
    found = {}
    for suffix, (container, coding) in _SOUNDS.items():
        file = io.BytesIO()
        samples = np.stack([wave, -wave], 1) if len(suffix) % 2 else wave
        soundfile.write(file, samples, 16_000, format=container, subtype=coding)
        found[suffix] = file.getvalue()
    return found


def _make_sound(random: Random, folder: Path) -> Path:
    suffix, content = random.choice(list(sounds().items()))
    if suffix.endswith(".wav") and mutations.chance(random, 0.3):  # a rate, or a length, that lies
        at = random.choice((24, 24, 22, 28, 32, 34, 40))
        number = random.choice((0, 1, 7, 999_983, 1_000_003, 10_000_019, 2**31 - 1, 2**32 - 1))
        width = 2 if at in (22, 32, 34) else 4
        number = number % (1 << (8 * width))
        content = content[:at] + number.to_bytes(width, "little") + content[at + width :]
    else:
        content = mutations.damaged_bytes(random, content, head=64)
    return good.write(folder, {f"x{suffix}": content}) / f"x{suffix}"


def _use_sound(path: Path) -> None:
    how = {"sample_rate": 16_000, "num_samples": 8000, "padding": "repeat"}
    for truncate in (False, True):
        samples, count = prepare_sound(path, how, truncate=truncate)
        assert samples.shape == (8000,) and 0 < count <= 8000 and np.isfinite(samples).all()


GROUPS = (
    Group("images", "images (22 files of 14 formats)", _make_image, _use_image, 1200, 40, images),
    Group("npy", ".npy video", _make_npy, _use_npy, 300, 20),
    Group("sounds", "sounds (16 codings)", _make_sound, _use_sound, 700, 30, sounds),
)
