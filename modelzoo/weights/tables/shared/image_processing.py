"""What `preprocessor_config.json` says of images: size, cut, interpolation, mean and deviation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelzoo.errors import WeightsError, nearest

HALF = [0.5, 0.5, 0.5]
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
INTERPOLATIONS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
RESAMPLE = {name: number for number, name in INTERPOLATIONS.items()}


def reader(prefix: str = "", **defaults: object) -> Callable[[Mapping], dict]:
    """The function `read_media` of a table.

    Args:
        prefix: of our keys: `"image.model."`.
        defaults: our values where there is no such file.
    """

    def read(config: Mapping) -> dict[str, Any]:
        found = {**defaults, **_read(config)} if config else defaults
        return {prefix + key: value for key, value in found.items()}

    return read


def _read(config: Mapping) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not config.get("do_normalize", True):
        found = {"image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0]}
    elif "image_mean" in config:
        found = {key: list(map(float, config[key])) for key in ("image_mean", "image_std")}
    if abs(config.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        raise _unsupported("rescale_factor", config["rescale_factor"])
    if "resample" in config:
        if config["resample"] not in INTERPOLATIONS:
            raise _unsupported("resample", config["resample"], map(str, INTERPOLATIONS))
        found["interpolation"] = INTERPOLATIONS[config["resample"]]
    size = config.get("size")
    if config.get("do_center_crop", False):
        shorter = size.get("shortest_edge") if isinstance(size, Mapping) else size
        if shorter is None:
            raise _unsupported("do_center_crop with size", size)
        cut = config.get("crop_size", shorter)
        cut = max(cut.values()) if isinstance(cut, Mapping) else cut
        found |= {"resize": "crop", "resize_to": None if shorter == cut else int(shorter)}
    elif size is not None:
        found["resize"] = "squash"
    return found


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
        if how == "crop":
            shorter = values[f"{prefix}resize_to"] or max(height, width)
            config |= {"size": {"shortest_edge": shorter}, "crop_size": whole}
        return config

    return write


def _unsupported(key: str, value: object, choices=()) -> WeightsError:
    return WeightsError(
        f"{key} {value!r} is not supported",
        where="preprocessor_config.json",
        did_you_mean=nearest(str(value), choices),
    )
