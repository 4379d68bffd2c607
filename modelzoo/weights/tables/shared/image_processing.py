"""What `preprocessor_config.json` says of images: size, cut, interpolation, mean and deviation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelzoo.errors import WeightsError, nearest
from modelzoo.weights.keys import check_kind, kind_of_ours, not_read

HALF = [0.5, 0.5, 0.5]
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
INTERPOLATIONS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
RESAMPLE = {name: number for number, name in INTERPOLATIONS.items()}


def reader(
    prefix: str = "", *, sized: bool = False, **defaults: object
) -> Callable[[Mapping], dict]:
    """The function `read_media` of a table.

    Args:
        prefix: of our keys: `"image.model."`.
        sized: whether the size of the pictures in this file wins over that in `config.json`.
        defaults: our values where there is no such file.
    """

    def read(config: Mapping) -> dict[str, Any]:
        found = {**defaults, **_read(config, defaults)} if config else defaults
        made = _made(config) if sized else None
        found = {**found, "image_size": made} if made else found
        return {prefix + key: value for key, value in found.items()}

    return read


# Keys that change no picture: who wrote the file, what it is run with; and that a size is stated,
# which the model's own is.
UNUSED = (
    "image_processor_type",
    "feature_extractor_type",
    "processor_class",
    "auto_map",
    "data_format",
    "input_data_format",
    "device",
    "return_tensors",
    "default_to_square",
    "do_resize",
    "disable_grouping",
    "use_fast",
    "image_seq_length",
)
_READ = ("do_normalize", "image_mean", "image_std", "do_rescale", "rescale_factor", "resample")
_READ = (*_READ, "size", "do_center_crop", "crop_size")
# Pictures are made RGB in any case.
_NEUTRAL = {"do_convert_rgb": True}


def check_media_keys(
    config: Mapping, read: Sequence[str], unused: Sequence[str], neutral: Mapping[str, Any]
) -> None:
    """Reject a `preprocessor_config.json` with keys that would be passed over.

    Raises:
        WeightsError: names each of them.
    """
    rest = not_read(config, {*read}, neutral, (*UNUSED, *unused))
    if rest:
        raise WeightsError(
            f"{', '.join(rest)} is not supported: it would be passed over",
            where="preprocessor_config.json",
            did_you_mean=nearest(rest[0].partition(" ")[0], read),
            next_step="where you know that it changes nothing, remove it from the file",
        )


def read_statistics(config: Mapping, default: Mapping[str, Any]) -> dict[str, list[float]]:
    """`image_mean` and `image_std` for pixels from 0 to 1, whatever theirs are taken from.

    Theirs are `(pixel * rescale_factor - mean) / std`, of a pixel from 0 to 255; without
    `do_rescale` the factor is 1, without `do_normalize` the mean 0 and the deviation 1.
    """
    factor = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1
    if type(factor) not in (int, float) or factor <= 0:
        raise _unsupported("rescale_factor", factor)
    scale = 255 * factor
    scale = 1.0 if abs(scale - 1) < 1e-6 else scale
    statistics = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    if config.get("do_normalize", True):
        for key in statistics:
            value = config.get(key) or default.get(key, HALF)
            values = value if isinstance(value, list) else [value] * 3
            if len(values) != 3 or not all(type(v) in (int, float) for v in values):
                raise _unsupported(key, value)
            statistics[key] = [float(v) for v in values]
    if min(statistics["image_std"]) <= 0:
        raise _unsupported("image_std", config.get("image_std"))
    return {key: [v / scale for v in values] for key, values in statistics.items()}


def _read(config: Mapping, default: Mapping[str, Any]) -> dict[str, Any]:
    for key in ("do_normalize", "do_rescale", "do_center_crop", "do_resize", "do_convert_rgb"):
        if type(config.get(key, True)) not in (bool, type(None)):
            raise _unsupported(key, config[key])
    check_media_keys(config, _READ, (), _NEUTRAL)
    found: dict[str, Any] = dict(read_statistics(config, default))
    if config.get("resample") is not None:
        if config["resample"] not in INTERPOLATIONS:
            raise _unsupported("resample", config["resample"], map(str, INTERPOLATIONS))
        found["interpolation"] = INTERPOLATIONS[config["resample"]]
    size = config.get("size")
    if config.get("do_center_crop", False):
        shorter, resize = size, default.get("resize", "crop")
        if isinstance(size, Mapping):
            square = _square(size)
            shorter, resize = size.get("shortest_edge", square), "squash" if square else "crop"
        if shorter is None:
            raise _unsupported("do_center_crop with size", size)
        cut = config.get("crop_size", shorter)
        cut = max(cut.values()) if isinstance(cut, Mapping) else cut
        found |= {"resize": resize, "resize_to": None if shorter == cut else int(shorter)}
    elif size is not None:
        found["resize"] = "squash"
    return found


def _square(size: Mapping) -> int | None:
    """The side of {"height": side, "width": side}, which changes an image's proportions."""
    side = size.get("height")
    return side if size == {"height": side, "width": side} else None


def _made(config: Mapping) -> int | list[int] | None:
    """A side, or height and width, of the pictures that a processor makes, where it says so."""
    cut = config.get("do_center_crop", False)
    size: Any = config.get("crop_size") if cut else config.get("size")
    if isinstance(size, Mapping):
        sides: list[Any] = [size.get("height"), size.get("width")]
        if None in sides:  # the shorter side alone: pictures of all proportions
            raise _unsupported("size without do_center_crop", dict(size))
        size = sides[0] if sides[0] == sides[1] else sides
    if size is not None:
        check_kind("size", size, kind_of_ours("image_size"), "preprocessor_config.json")
    return size


def writer(kind: str, prefix: str = "") -> Callable[[Mapping], dict]:
    """The function `write_media` of a table; `kind` is their class."""

    def write(values: Mapping) -> dict[str, Any]:
        size = values[f"{prefix}image_size"]
        height, width = (size, size) if isinstance(size, int) else size
        whole = {"height": height, "width": width}
        how = values[f"{prefix}resize"]
        if how == "pad":
            raise WeightsError("Hugging Face has no counterpart of resize = 'pad'")
        config = {
            "image_processor_type": kind,
            "do_resize": True,
            "size": whole,
            "resample": RESAMPLE[values[f"{prefix}interpolation"]],
            "do_center_crop": how == "crop",
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(values[f"{prefix}image_mean"]),
            "image_std": list(values[f"{prefix}image_std"]),
            "do_convert_rgb": True,
        }
        shorter = values[f"{prefix}resize_to"]
        if how == "crop":
            config["size"] = {"shortest_edge": shorter or max(height, width)}
        elif shorter:
            config |= {"size": {"height": shorter, "width": shorter}, "do_center_crop": True}
        if config["do_center_crop"]:
            config["crop_size"] = whole
        return config

    return write


def _unsupported(key: str, value: object, choices=()) -> WeightsError:
    return WeightsError(
        f"{key} {value!r} is not supported",
        where="preprocessor_config.json",
        did_you_mean=nearest(str(value), choices),
    )
