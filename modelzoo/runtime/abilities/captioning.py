"""From an image, and perhaps a question about it, to text: on a device and in Keras. numpy only.

A caption's *frame* says what a model reads before it writes, as data that a manifest holds:

    {"before": [ids], "image_tokens": P, "image_token": id, "in_text": bool, "between": [ids],
     "after": [ids]}

The prompt is: before, the image's P positions, between, the user's prompt, after. A model that
looks at the image by cross-attention has P = 0. `in_text` says that in training, too, the text
holds `image_token` P times; else the image comes before a text that does not mention it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np

from modelzoo.errors import BundleError, ModelzooError, OverflowTextError, RecipeError
from modelzoo.runtime.abilities.ability import Ability
from modelzoo.runtime.abilities.media import is_one_medium, many_media, prepared
from modelzoo.runtime.abilities.protocols import Captions
from modelzoo.runtime.abilities.sources import caption_sources, media_kinds
from modelzoo.runtime.engines.base import plan_steps
from modelzoo.runtime.generation.defaults import sampling_with
from modelzoo.runtime.generation.loop import Written, duplicate_ranks, generate_text
from modelzoo.runtime.generation.prefill import prefill
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.runtime.generation.steppers import Stepper

if TYPE_CHECKING:
    from typing import Unpack

    from modelzoo.runtime.abilities.protocols import Medium, Several
    from modelzoo.runtime.generation.sampling import SamplingOptions

__all__ = ["CaptionAbility", "captions", "captions_images", "frame_of", "framed", "take_in"]

_FIELDS = re.compile(r"(\{image\}|\{prompt\})")
# What a caption without a template begins with: the first of these that the tokenizer has.
_START = ("start", "bos", "cls", "pad", "eos")


# === The frame ===


def frame_of(
    tokenizer, template: str | None = None, image_tokens: int = 0, image_token: int | None = None
) -> dict:
    """The frame of a model.

    Args:
        template: what the model reads, such as
            `"<|im_start|>User:{image}{prompt}<end>\\nAssistant:"`; control tokens count in it.
            `None`: the image, the start token, and the prompt.
        image_tokens: positions P that the image takes.
        image_token: what stands at these positions in a text. `None`: the image comes first.

    Raises:
        RecipeError: `{prompt}` is missing or a field stands twice; no token would follow the image;
            or tokens stand before it where it comes first.

    Example:
        >>> from modelzoo.runtime import Tokenizer
        >>> tokenizer = Tokenizer.load("tokenizer.json")
        >>> frame = frame_of(tokenizer, "{image}Q: {prompt} A:", image_tokens=16)
        >>> tokenizer.decode(frame["between"]), tokenizer.decode(frame["after"])
        ('Q: ', ' A:')
    """
    if template is None:
        start = next((tokenizer.roles[role] for role in _START if role in tokenizer.roles), None)
        if start is None:
            raise RecipeError(
                "the tokenizer has no token that a caption could begin with (bos, pad or eos)",
                next_step='give task_options.template, for example "{image}Caption: {prompt}"',
            )
        parts = {"before": [], "between": [start], "after": []}
    else:
        parts = _parts(tokenizer, template)
    if not image_tokens:
        parts = {
            "before": [],
            "between": parts["before"] + parts["between"],
            "after": parts["after"],
        }
    if not parts["between"] and not parts["after"]:
        raise RecipeError(f"the template {template!r} has no token after the image to begin with")
    if image_tokens and image_token is None and parts["before"]:
        raise RecipeError(
            f"the template {template!r} has text before the image, which comes first in this model",
            next_step="begin it with {image}, or state model.image_token",
        )
    stands = parts["between"][0] if image_token is None and parts["between"] else image_token
    return {
        **parts,
        "image_tokens": image_tokens,
        "image_token": stands or 0,
        "in_text": image_token is not None,
    }


def _parts(tokenizer, template: str) -> dict[str, list[int]]:
    """The ids of the text before the image, between it and the prompt, and after."""
    pieces = _FIELDS.split(template)
    fields = pieces[1::2]
    if fields not in (["{image}", "{prompt}"], ["{prompt}"]):
        raise RecipeError(
            f"a template holds {{image}} and then {{prompt}}, each once: {template!r}",
            where="task_options.template",
        )
    texts = pieces[::2] if len(fields) == 2 else ["", *pieces[::2]]
    names = ("before", "between", "after")
    return {n: _encoded(tokenizer, t) for n, t in zip(names, texts, strict=True)}


def _encoded(tokenizer, text: str) -> list[int]:
    """The ids of a template's text, in which control tokens are what they spell."""
    control = {tokenizer.id_to_token(id): id for id in tokenizer.special_ids}
    if not control:
        return tokenizer.encode(text)
    longest_first = sorted(control, key=len, reverse=True)
    ids: list[int] = []
    for index, piece in enumerate(re.split(f"({'|'.join(map(re.escape, longest_first))})", text)):
        ids += [control[piece]] if index % 2 else tokenizer.encode(piece) if piece else []
    return ids


def framed(frame: Mapping, prompt: Sequence[int], image: bool = True) -> list[int]:
    """A prompt's ids in their frame, with the image's positions in front or in their place.

    Args:
        image: False leaves the image's positions out, for callers that count from their end.

    >>> frame = {"before": [1], "image_tokens": 2, "image_token": 9, "between": [], "after": [4]}
    >>> framed(frame, [7, 8])
    [1, 9, 9, 7, 8, 4]
    """
    place = [frame["image_token"]] * frame["image_tokens"] if image else []
    return [*frame["before"], *place, *frame["between"], *prompt, *frame["after"]]


# === On a device ===


def captions_images(signatures: Mapping) -> bool:
    """Whether a bundle's signatures write text about images."""
    encode = signatures.get("encode")
    looks = any(name.startswith("prefill_image") for name in signatures)
    looks = looks or (encode is not None and "images" in encode.inputs)
    return "decode" in signatures and (looks or bool(media_kinds(signatures)))


class CaptionAbility(Ability, Captions):
    """What `runtime.Model` does with an image and a decoder: mixed into it."""

    @overload
    def caption(
        self,
        image: Medium,
        prompt: str | None = None,
        stream: Literal[False] = False,
        **sampling: Unpack[SamplingOptions],
    ) -> str: ...
    @overload
    def caption(
        self,
        image: Medium,
        prompt: str | None = None,
        *,
        stream: Literal[True],
        **sampling: Unpack[SamplingOptions],
    ) -> Iterator[str]: ...
    @overload
    def caption(
        self,
        image: Several[Medium],
        prompt: str | Several[str | None] | None = None,
        stream: Literal[False] = False,
        **sampling: Unpack[SamplingOptions],
    ) -> list[str]: ...
    @overload
    def caption(
        self,
        image: Several[Medium],
        prompt: str | Several[str | None] | None = None,
        *,
        stream: Literal[True],
        **sampling: Unpack[SamplingOptions],
    ) -> Iterator[tuple[int, str]]: ...
    def caption(
        self, image, prompt=None, stream: bool = False, kind: str | None = None, **sampling
    ) -> Written:
        """What the model says of an image or a video, or answers to a question about it.

        Args:
            image: a path, the bytes of a file, an array (H, W, 3), or a list of them.
            prompt: a question, or how the text begins; for several images one for all, or a list.
            kind: "image" or "video", of a model that reads both. Default: a folder, an animation
                (.gif, .apng) or a .npy file is a video, anything else an image.
            stream: return an iterator of pieces instead; for a list, of (row, piece).
            sampling: the fields of `Sampling`: max_new_tokens, temperature, and so on.

        Returns: a str for one image, for a list a list of str.

        Raises:
            DataError: a file that cannot be read.
            OverflowTextError: the prompt is longer than the model's window.
            ModelzooError: a wrong option, or a bundle that does not caption.

        Example:
            >>> from modelzoo.runtime import load
            >>> model = load("captioner.bundle")
            >>> model.caption("photo.jpg", "What colour is the cat?", max_new_tokens=3)
            ' black'
        """
        self._need("caption")
        kinds = media_kinds(self.engine.signatures)
        if kinds:
            default = self.bundle.processing.get("caption_prompt") or ""
            sources = caption_sources(image, prompt, kind, kinds, default)
            return cast(Any, self).generate(sources, stream, **sampling)  # it is mixed in as well
        if kind not in (None, "image"):
            raise ModelzooError(f"this model captions images, not {kind}")

        def begin(images, prompts, _):
            if "encode" in self.engine.signatures:
                return self.engine.stepper({"images": images})
            stepper = self.engine.stepper()
            take_in(stepper, prompts, processing["caption"], images)
            return stepper

        processing = self.bundle.processing
        plan = plan_steps(self.engine.signatures)
        return captions(
            begin,
            self._text,
            processing,
            image,
            prompt,
            max_length=plan.max_length,
            stream=stream,
            generation=self.manifest.get("generation"),
            **sampling,
        )


# === Writing captions ===


def take_in(stepper, prompts: list[list[int]], frame: Mapping, images: np.ndarray) -> None:
    """Put images (B, H, W, 3) in their place in a fresh state, after what is before them.

    Only for a model whose images are tokens. The stepper's `kept` then says how many positions
    hold what no token could write again.
    """
    first, count = len(frame["before"]), frame["image_tokens"]
    prefill(stepper, prompts, end=first)
    positions = np.arange(first, first + count, dtype=np.int32)
    stepper.prefill_image(images, np.tile(positions, (len(prompts), 1)))


def captions(
    begin: Callable[[np.ndarray, list[list[int]], Sampling], Stepper],
    tokenizer,
    processing: Mapping,
    image,
    prompt: str | Sequence[str] | None = None,
    *,
    max_length: int | None,
    rows: int = 1,
    stream: bool = False,
    generation: Mapping[str, Any] | None = None,
    **sampling,
) -> Written:
    """What a model says of an image, or of each of a list of them.

    Args:
        begin: `begin(images (B, H, W, 3), prompts, sampling)` gives a stepper that has seen both.
        processing: the model's, with `image` and `caption`, the frame.
        image: a path, the bytes of a file, an array (H, W, 3), or a list of them.
        prompt: a question or a beginning; for several images one for all, or a list.
        max_length: positions of the model's window.
        rows: images that `begin` takes at a time.
        stream: give an iterator over pieces instead; for a list, over (row, piece).
        generation: how the checkpoint generates; see `runtime.generation.defaults`.

    Returns: a str for one image, for a list a list of str.

    Raises:
        DataError: a file that is not an image, or damaged.
        OverflowTextError: the prompt is longer than the window.
        ModelzooError: an empty list, or another number of prompts than images.
    """
    options = sampling_with(generation, sampling)
    frame = processing.get("caption")
    if not isinstance(frame, Mapping):
        raise BundleError(
            "the manifest has no processing.caption, which says what a caption begins with",
            next_step="export the model again",
        )
    if options.when_full == "slide" and frame["image_tokens"]:
        raise ModelzooError(
            'when_full="slide" would leave out the image, which is at the beginning of the window',
            next_step="give a smaller max_new_tokens",
        )
    many = not is_one_image(image)
    images = many_media(image) if many else [image]
    texts = _prompts(prompt, len(images))
    prompts = [framed(frame, tokenizer.encode(text) if text else []) for text in texts]
    for ids in prompts:
        if max_length is not None and len(ids) > max_length:
            raise OverflowTextError(
                f"the image and its prompt have {len(ids)} tokens, and the model's window "
                f"{max_length}",
                next_step="shorten the prompt",
            )

    def pieces() -> Iterator[tuple[int, str]]:
        pairs = zip(texts, images, strict=True)
        ranks = duplicate_ranks([(text, _identity(one)) for text, one in pairs])
        for first in range(0, len(images), rows):
            some = slice(first, first + rows)
            arrays = [prepared("image", one, processing)["images"] for one in images[some]]
            stepper = begin(np.stack(arrays), prompts[some], options)
            for row, piece in generate_text(
                stepper, tokenizer, prompts[some], options, stream=True, ranks=ranks[some]
            ):
                yield first + row, piece

    if stream:
        return pieces() if many else (piece for _, piece in pieces())
    found = [""] * len(images)
    for row, piece in pieces():
        found[row] += piece
    return found if many else found[0]


def is_one_image(image) -> bool:
    """Whether it is one image, and neither a list of them nor an array (B, H, W, 3)."""
    return is_one_medium(image) and getattr(image, "ndim", 3) != 4


def _prompts(prompt: Any, count: int) -> list[str | None]:
    if not count:
        raise ModelzooError("there is no image to caption: the list is empty")
    many = isinstance(prompt, Iterable) and not isinstance(prompt, str | bytes)
    texts: list = list(prompt) if many else [prompt] * count
    if len(texts) != count:
        raise ModelzooError(f"{len(texts)} prompts for {count} images")
    for text in texts:
        if text is not None and not isinstance(text, str):
            raise ModelzooError(f"a prompt must be str, not {type(text).__name__}")
    return texts


def _identity(image) -> object:
    """What is equal for equal sources, so that copies of an image draw different numbers."""
    return image if isinstance(image, str | bytes) else id(image)
