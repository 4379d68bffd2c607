"""Images, sounds and videos through a bundle: from a file, its bytes or an array to an answer.

Which medium a signature reads follows from the name of its input, and how a file becomes that input
by the manifest's `processing`: the same functions prepare it for training.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from modelzoo.errors import BundleError, DataError, ModelzooError, parsing
from modelzoo.runtime.abilities.ability import Ability
from modelzoo.runtime.abilities.labels import check_numbers, softmax
from modelzoo.runtime.abilities.protocols import Embeds, EmbedsMedia, ZeroShot
from modelzoo.runtime.cores import usable_cores

if TYPE_CHECKING:
    from modelzoo.runtime.abilities.protocols import Labels, Medium, Several

__all__ = [
    "INPUTS",
    "MediaAbilities",
    "is_one_medium",
    "many_media",
    "media_abilities",
    "medium_of",
    "ranked",
    "scale",
]

# kind -> the input of a signature that reads it
INPUTS = {"image": "images", "audio": "audio", "video": "frames"}
_TEMPLATE = "a photo of a {}"
_AHEAD = 16  # media that are prepared before they are needed
_SCALE = 100.0  # of cosines where the manifest says none: CLIP's, learned and clamped there


def medium_of(signature) -> str | None:
    """The kind of medium that a signature reads, or `None`."""
    return next((kind for kind, name in INPUTS.items() if name in signature.inputs), None)


def media_abilities(signatures: Mapping, tokenizer) -> list[str]:
    """The names of the methods that fit a bundle's signatures, of those defined here."""
    able = [
        f"embed_{kind}"
        for kind in INPUTS
        if "embedding" in getattr(signatures.get(f"encode_{kind}"), "outputs", ())
    ]
    text = getattr(signatures.get("encode_text"), "outputs", ())
    if able and tokenizer is not None and "embedding" in text:
        able += ["embed_text", "zero_shot"]
    return able


def is_one_medium(medium) -> bool:
    """Whether it is one image, sound or video, and not a list of them."""
    one = isinstance(medium, str | os.PathLike | bytes | bytearray | tuple)
    return one or hasattr(medium, "__array__") or hasattr(medium, "tobytes")


def many_media(media) -> list:
    """A list of media; rejected here if it is none."""
    if isinstance(media, Mapping) or not isinstance(media, Iterable):
        raise ModelzooError(
            f"a file, its bytes, an array, or a list of these, not {type(media).__name__}"
        )
    return list(media)


def prepared(
    kind: str, source, processing: Mapping, truncate: bool = False, still: bool = False
) -> dict[str, Any]:
    """The inputs of a signature that one medium makes, without their batch axis.

    Args:
        truncate: of a sound that is longer than the model's window, take the beginning.
        still: of a video of one frame, give that frame alone; see `videos.prepare_video`.

    Raises:
        DataError: it cannot be read, and which file it is.
        BundleError: the manifest does not say how.
    """
    if kind not in processing:
        raise BundleError(
            f"the manifest does not say how {kind} files become the model's input",
            next_step="export the model again",
        )
    try:
        return _prepared(kind, source, processing, truncate, still)
    except DataError as error:
        if error.where is None and isinstance(source, str | os.PathLike):
            error.where = os.fspath(source)
        raise


def _prepared(
    kind: str, source, processing: Mapping, truncate: bool, still: bool
) -> dict[str, Any]:
    with parsing(None, DataError, f"the {kind} cannot be read"):
        if kind == "image":
            from modelzoo.runtime.media.images import prepare_image

            return {"images": prepare_image(source, processing["image"])}
        if kind == "video":
            from modelzoo.runtime.media.videos import prepare_video

            return {"frames": prepare_video(source, processing, still)}
        from modelzoo.runtime.media.sounds import prepare_sound

        samples, count = prepare_sound(source, processing["audio"], truncate)
        return {"audio": samples, "num_samples": np.int32(count)}


class MediaAbilities(Ability, Embeds, EmbedsMedia, ZeroShot):
    """What `runtime.Model` does with media: mixed into it, as its signatures allow.

    A medium is a path, a file's bytes, an array or a Pillow image; of a sound also (samples, sample
    rate). A list of them gives a list of answers, and many go through a signature at once where it
    has rows for them.
    """

    def embed_image(self, image: Medium | Several[Medium]) -> np.ndarray:
        """An image's vector (D,) float32 of length 1; for a list of N images (N, D).

        Raises:
            DataError: it cannot be read.
            ModelzooError: a bundle that does not embed images.

        Example:
            >>> from modelzoo.runtime import load
            >>> load("clip.bundle").embed_image("photo.jpg").shape
            (3,)
        """
        return self._embedded("image", image)

    def embed_audio(self, sound: Medium | Several[Medium], truncate: bool = False) -> np.ndarray:
        """A sound's vector (D,), for a list (N, D); see `embed_image`.

        Args:
            truncate: cut a sound that is longer than the model's window.
        """
        return self._embedded("audio", sound, truncate)

    def embed_video(self, video: Medium | Several[Medium]) -> np.ndarray:
        """A video's vector (D,), for a list (N, D); see `embed_image`."""
        return self._embedded("video", video)

    def embed_text(self, text: str | Several[str], truncate: bool = False) -> np.ndarray:
        """A text's vector (D,) in the space of the media, for a list (N, D); see `embed`."""
        self._need("embed_text")
        return self.embed(text, truncate)

    @overload
    def zero_shot(
        self,
        media: Medium,
        labels: Sequence[str],
        template: str | None = None,
        kind: str | None = None,
    ) -> Labels: ...
    @overload
    def zero_shot(
        self,
        media: Several[Medium],
        labels: Sequence[str],
        template: str | None = None,
        kind: str | None = None,
    ) -> list[Labels]: ...
    def zero_shot(
        self, media, labels: Sequence[str], template: str | None = None, kind: str | None = None
    ) -> list:
        """Labels that no training named, and their probabilities, the likeliest first.

        Each label in the template is a text; its vector is compared with the medium's (Radford et
        al. 2021, section 3.1).

        Args:
            media: an image, a sound, or a list of them.
            labels: what to choose from, two or more.
            template: holds `{}` where the label goes. Default: the model's, or "a photo of a {}"
                for images and "{}" for others.
            kind: "image", "audio" or "video"; needed where the model reads several and `media` does
                not tell by a file's suffix.

        Returns:
            [(label, probability)], for a list one such list each.

        Raises:
            DataError: a medium that cannot be read.
            ModelzooError: too few labels, a template without `{}`.

        Example:
            >>> from modelzoo.runtime import load
            >>> load("clip.bundle").zero_shot("photo.jpg", ["cat", "dog"])[0]
            ('cat', 0.97...)
        """
        self._need("zero_shot")
        labels = [labels] if isinstance(labels, str) else list(labels)
        if len(set(labels)) < 2:
            raise ModelzooError(
                f"zero_shot chooses between two labels or more; got {labels}",
                next_step='labels=["cat", "dog"]',
            )
        one = is_one_medium(media)
        items = [media] if one else many_media(media)
        kind = kind or self._kind_of(items)
        how = self.bundle.processing.get("contrastive") or {}
        if template is None:
            template = how.get("template") or (_TEMPLATE if kind == "image" else "{}")
        if "{}" not in template:
            raise ModelzooError(f"the template has no {{}} for the label: {template!r}")
        texts = self.embed_text([template.replace("{}", label) for label in labels])
        answers = [
            ranked(scale(how, kind) * (vector @ texts.T), labels, how)
            for vector in (self._embedded(kind, items) if items else ())
        ]
        return answers[0] if one else answers

    # === From media to arrays, and back ===

    def _kind_of(self, items: Sequence) -> str:
        """The kind of medium that the items are, of those that the model embeds."""
        from modelzoo.runtime.media.suffixes import kind_of_file

        kinds = [name[6:] for name in self.abilities if name in map("embed_{}".format, INPUTS)]
        if len(kinds) == 1:
            return kinds[0]
        found = {kind_of_file(item) for item in items}
        for kind in kinds:
            if found == {kind}:
                return kind
        raise ModelzooError(
            f"the model reads {' and '.join(kinds)}, and these media do not say which they are",
            next_step='kind="image" says it',
        )

    def _embedded(self, kind: str, media, truncate: bool = False) -> np.ndarray:
        self._need(f"embed_{kind}")
        vectors = self._media_answers(
            kind, f"encode_{kind}", media, lambda outputs: outputs["embedding"], truncate
        )
        if not vectors:
            raise ModelzooError(f"there is no {kind} to embed: the list is empty")
        found = vectors[0] if is_one_medium(media) else np.stack(vectors)
        check_numbers(found, f"the vector of the {kind}")
        return found

    def _media_answers(
        self, kind: str, base: str, media, answer: Callable[[dict], Any], truncate: bool = False
    ) -> list:
        """`answer(outputs)` of each medium of a kind, with its own row of the outputs of `base`.

        Where there is a signature with more rows, such as `serve_x8`, as many go through at once.
        """
        items = [media] if is_one_medium(media) else many_media(media)
        calls = _calls(self.engine.signatures, base, INPUTS[kind], len(items))
        answers: list = []
        stream = _prepared_ahead(kind, items, self.bundle.processing, truncate)
        for name, rows in calls:
            info = self.engine.signatures[name].inputs
            own = list(islice(stream, rows))
            ready = own + own[-1:] * (rows - len(own))
            inputs = {
                key: np.stack([one[key] for one in ready]).astype(tensor.dtype)
                for key, tensor in info.items()
                if key in ready[0]
            }
            outputs = self.engine.run(name, inputs)
            for row in range(len(own)):
                answers.append(answer({key: value[row] for key, value in outputs.items()}))
        return answers


def _prepared_ahead(kind: str, items: Sequence, processing: Mapping, truncate: bool) -> Iterator:
    """Each item `prepared`, in order: by several threads, some ahead of what is asked for."""
    if len(items) < 2:
        yield from (prepared(kind, item, processing, truncate) for item in items)
        return
    from concurrent.futures import ThreadPoolExecutor  # 3 ms, with all of `logging`

    with ThreadPoolExecutor(min(len(items), usable_cores()), "prepare") as pool:
        waiting: deque = deque()
        for item in items:
            waiting.append(pool.submit(prepared, kind, item, processing, truncate))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _calls(signatures: Mapping, base: str, key: str, count: int) -> list[tuple[str, int]]:
    """(signature, rows) of the calls that read `count` media; the last may not be full."""
    rows_of = {
        name: info.inputs[key].shape[0]
        for name, info in signatures.items()
        if (name == base or name.startswith(f"{base}_x")) and key in info.inputs
    }
    sizes = sorted(((rows, name) for name, rows in rows_of.items()), reverse=True)
    calls = []
    while count > 0:
        rows, name = next((size for size in sizes if size[0] <= count), sizes[-1])
        calls.append((name, rows))
        count -= rows
    return calls


def scale(how: Mapping, kind: str) -> float:
    """What cosines of a medium and a text are multiplied by; of a pair that no training compared,
    as the sharpest of those that it did."""
    scales = how.get("scales") or {}
    for pair in (f"{kind}-text", f"text-{kind}"):
        if pair in scales:
            return float(scales[pair])
    return max(scales.values(), default=_SCALE)


def ranked(logits: np.ndarray, labels: Sequence[str], how: Mapping) -> list[tuple[str, float]]:
    """Labels by their logits (N,); where the model was trained with a sigmoid, each on its own."""
    check_numbers(logits, "the model's answer")
    if how.get("loss") == "sigmoid":
        shifted = logits.astype(np.float64) + how.get("bias", 0.0)
        probabilities = 1 / (1 + np.exp(-np.clip(shifted, -500, 500)))
    else:
        probabilities = softmax(logits)
    order = np.argsort(-logits, kind="stable")
    return [(labels[int(n)], float(probabilities[n])) for n in order]
