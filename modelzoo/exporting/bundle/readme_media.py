"""What a bundle's README says of images, sounds and videos."""

from __future__ import annotations

from collections.abc import Iterator

_RESIZE = {
    "squash": "resized to that size, whatever its proportions",
    "crop": "resized until it fills that size, and the middle cut out",
    "pad": "resized until it fits into that size, on black",
}


def media_sizes(processing: dict) -> Iterator[str]:
    """What goes in, in a few words.

    >>> list(media_sizes({"image": {"size": [224, 192]}}))
    ['images of 224 x 192 pixels']
    """
    if "image" in processing:
        height, width = processing["image"]["size"]
        frames = processing.get("video", {}).get("num_frames")
        of = f"{frames} frames" if frames else "images"
        yield f"{of} of {height} x {width} pixels"
    if "audio" in processing:
        how = processing["audio"]
        yield f"{how['num_samples'] / how['sample_rate']:.3g} s of sound"


def media_lines(signatures: dict, processing: dict) -> Iterator[str]:
    """How to make the inputs, and what the outputs are, a line each."""
    used = {key for signature in signatures.values() for key in signature["inputs"]}
    # A plugin's model may take images or sound in a form of its own, of which nothing is said.
    if "image" in processing and ("images" in used or "frames" in used):
        yield _of_images(processing["image"], [one for one in ("images", "frames") if one in used])
    if "audio" in processing and "audio" in used:
        yield _of_sounds(processing["audio"], "num_samples" in used)
    embeds = [name for name in signatures if name.startswith(("encode_image", "encode_a"))]
    if any("embedding" in signatures[name]["outputs"] for name in embeds):
        yield "- Each `embedding` has length 1: the dot product of two is their cosine."
    compared = processing.get("contrastive")
    if compared:
        scales = ", ".join(f"{pair} {scale:.6g}" for pair, scale in compared["scales"].items())
        bias = f", plus {compared['bias']:.6g}" if "bias" in compared else ""
        what = "sigmoid" if compared.get("loss") == "sigmoid" else "softmax over the texts"
        yield (f"- Probabilities are the {what} of the cosines times a scale ({scales}){bias}.")


def _of_images(how: dict, used: list[str]) -> str:
    height, width = how["size"]
    first = how.get("resize_to")
    whole = f"{first} x {first}, of which the middle" if how["resize"] == "squash" else None
    shorter = f" (first to {whole or f'a shorter side of {first}'})" if first else ""
    name = {
        ("images",): "`images` are",
        ("frames",): "`frames` are images",
        ("images", "frames"): "`images`, and the images of which `frames` consist, are",
    }[tuple(used)]
    return (
        f"- {name} RGB, a byte for each channel, {height} rows of {width} pixels: an image is "
        f"{_RESIZE[how['resize']]}{shorter}, {how['interpolation']}, antialiased. The model scales "
        "the bytes itself."
    )


def _of_sounds(how: dict, counted: bool) -> str:
    rest = "zeros" if how["padding"] == "zeros" else "the sound again"
    count = "; `num_samples` says how many are the sound's own" if counted else ""
    return (
        f"- `audio` are {how['num_samples']:,} samples between -1 and 1, "
        f"{how['sample_rate']:,} a second, one channel; a shorter sound is followed by {rest}"
        f"{count}. The model computes the spectrogram itself."
    )


def held_out_text(figures: dict) -> str:
    """What quantization cost, in a sentence."""
    found = f"{figures['bundle']:.4g} compared with {figures['float32']:.4g} in float32."
    where = f"{figures['of']} made for the test" if "of" in figures else "held-out English text"
    return f"On {where}, {figures['metric']}: {found}"
