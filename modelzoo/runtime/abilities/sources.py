"""What an encoder reads before a decoder writes: a text, or a text with an image or a video.

Such a source is given as a dict: `{"text": "What is this?", "image": "photo.png"}`. numpy only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelzoo.errors import ModelzooError, nearest
from modelzoo.runtime.abilities.media import INPUTS, is_one_medium, many_media, prepared

__all__ = [
    "Source",
    "caption_sources",
    "identity_of",
    "is_one_source",
    "media_inputs",
    "media_kinds",
]

_KINDS = {"image": "an image", "video": "a video"}
_KEYS = ("text", *_KINDS)
_MOVING = (".gif", ".apng", ".npy")


@dataclass(frozen=True, eq=False)
class Source:
    """A text, and at most one medium.

    Attributes:
        kind: "image", "video", or `None` for a text alone.
        medium: what `runtime.media.images.open_image` or `videos.open_video` reads.
    """

    text: str = ""
    kind: str | None = None
    medium: Any = None

    @classmethod
    def of(cls, given: str | Mapping[str, Any] | Source, kinds: Sequence[str] = ()) -> Source:
        """The source that a text or a dict states.

        Args:
            kinds: the media that the model reads.

        Raises:
            ModelzooError: a medium that the model does not read, another key, an image and a video
                at once, or a text that is not a str.

        Example:
            >>> Source.of({"text": "What is this?", "image": "photo.png"}, ("image",)).kind
            'image'
        """
        if isinstance(given, Source):
            return given
        table = {"text": given} if isinstance(given, str) else given
        if not isinstance(table, Mapping):
            kind = type(given).__name__
            if not kinds:
                raise ModelzooError(f"a text must be str, not {kind}")
            raise ModelzooError(
                f"a source must be a str or a dict with {', '.join(_KEYS)}, not {kind}",
                next_step='{"text": "What is this?", "image": "photo.png"}',
            )
        for key in table:
            if key not in _KEYS:
                raise ModelzooError(
                    f"a source has no {key!r}",
                    did_you_mean=nearest(str(key), _KEYS),
                    next_step=f"its keys are {', '.join(_KEYS)}",
                )
        found = [kind for kind in _KINDS if table.get(kind) is not None]
        text = table.get("text", "")
        if len(found) > 1:
            raise ModelzooError(
                "a source has an image or a video, and here are both",
                next_step="leave one out; several images in their order are a video",
            )
        if not isinstance(text, str):
            raise ModelzooError(
                f"the text of a source must be str, not {type(text).__name__}",
                next_step='an image goes under "image", a video under "video"',
            )
        for kind in found:
            if kind not in kinds:
                raise ModelzooError(
                    f"this model reads {' and '.join(('text', *kinds))}, and here is a source with "
                    f"{_KINDS[kind]}",
                    next_step="leave it out, or take a model of the architecture multimodal",
                )
            return cls(text, kind, table[kind])
        return cls(text)

    def frames(self, processing: Mapping) -> np.ndarray | None:
        """The medium as frames (F, H, W, 3) uint8: one of an image; `None` for a text alone.

        Args:
            processing: the model's; see `runtime.media.processing`.

        Raises:
            DataError: it cannot be read, and which file it is.
        """
        if self.kind is None:
            return None
        found = prepared(self.kind, self.medium, processing, still=True)[INPUTS[self.kind]]
        return found[None] if self.kind == "image" else found


def media_inputs(frames: np.ndarray | None) -> dict[str, np.ndarray]:
    """The inputs of an encoder's signature that frames (F, H, W, 3) make; one frame is an image.

    Example:
        >>> media_inputs(np.zeros((1, 8, 8, 3), "uint8"))["images"].shape
        (1, 8, 8, 3)
    """
    if frames is None:
        return {}
    return {INPUTS["image"]: frames} if len(frames) == 1 else {INPUTS["video"]: frames[None]}


def caption_sources(
    medium: Any,
    prompt: str | Sequence[str | None] | None,
    kind: str | None,
    kinds: Sequence[str],
    default: str,
) -> Source | list[Source]:
    """The source of one medium with its prompt, or a list for a list of media.

    Args:
        kind: "image" or "video". Default: a folder or an animation is a video, all else an image.
        kinds: those that the model reads.
        default: the prompt where none is given.

    Raises:
        ModelzooError: an empty list, another number of prompts than media, or a kind that the model
            does not read.
    """
    one = is_one_medium(medium) and getattr(medium, "ndim", 3) != 4
    one = one or (kind == "video" and is_one_medium(medium))
    media = [medium] if one else many_media(medium)
    if prompt is None or isinstance(prompt, str):
        prompt = [prompt] * len(media)
    if not media or len(prompt) != len(media):
        raise ModelzooError(
            f"expected a prompt for each image or video, got {len(prompt)} for {len(media)}"
            if media
            else "there is no image to caption: the list is empty"
        )
    found = [
        Source.of({"text": default if text is None else text, kind or _kind_of(each): each}, kinds)
        for each, text in zip(media, prompt, strict=True)
    ]
    return found[0] if one else found


def _kind_of(medium: Any) -> str:
    named = isinstance(medium, str | os.PathLike)
    moves = named and (os.path.isdir(medium) or os.fspath(medium).lower().endswith(_MOVING))
    return "video" if moves else "image"


def is_one_source(given: object) -> bool:
    """Whether it is one source, and not a list of them."""
    return isinstance(given, str | Mapping | Source)


def identity_of(source: str | Source) -> object:
    """What is equal for equal sources, so that copies of one draw different random numbers."""
    if isinstance(source, str):
        return source
    known = isinstance(source.medium, str | bytes | os.PathLike | None)
    return source.text, source.kind, source.medium if known else id(source.medium)


def media_kinds(signatures: Mapping) -> tuple[str, ...]:
    """The media that a bundle's encoders read before a text, of its signatures `encode_{kind}`.

    Example:
        >>> from modelzoo.runtime import load
        >>> media_kinds(load("gpt.bundle").engine.signatures)
        ()
    """
    if "decode" not in signatures:
        return ()
    return tuple(
        kind
        for kind, name in INPUTS.items()
        if f"encode_{kind}" in signatures
        and {"token_ids", name} <= set(signatures[f"encode_{kind}"].inputs)
    )
