"""What models can do, as types: the methods that a Keras model and a bundle have in common.

Nothing is imported for it when code runs. A function that takes whatever generates text says so:

    def continue_all(model: Generates, texts: list[str]) -> list[str]:
        return model.generate(texts, max_new_tokens=20)

First arguments have other names in other models, so they are positional here. Which of these
methods fit a model is decided by its task; the others raise a `ModelzooError`, or are missing from
a Keras model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict, TypeVar, overload

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Unpack

    import numpy as np

    from modelzoo.runtime.generation.sampling import SamplingOptions
    from modelzoo.runtime.generation.session import ChatOptions, ChatSession

__all__ = [
    "Captions",
    "Chats",
    "Classifies",
    "Embeds",
    "EmbedsMedia",
    "FillsMasks",
    "Generates",
    "Tags",
    "Transcribes",
    "ZeroShot",
]


T_co = TypeVar("T_co", covariant=True)


class Several(Protocol[T_co]):
    """A list or the like. A str is none: it looks for nothing but str in itself."""

    def __contains__(self, item: object, /) -> bool: ...
    def __iter__(self) -> Iterator[T_co]: ...
    def __len__(self) -> int: ...


class _Array(Protocol):
    """A numpy array, or a tensor that becomes one."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any: ...


class _Picture(Protocol):
    """An image of Pillow."""

    def tobytes(self, *args: Any, **kwargs: Any) -> bytes: ...


# A path, a file's bytes, an array, a Pillow image; of a sound also (samples, rate).
Medium: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | tuple | _Array | _Picture"
# A text; for a model that reads media with a text also {"text": ..., "image": ...}, or "video".
Given: TypeAlias = "str | Mapping[str, Any]"
Labels: TypeAlias = "list[tuple[str, float]]"  # with their probabilities, the likeliest first
Messages: TypeAlias = "str | Sequence[Mapping[str, Any]]"  # one turn of the user, or all turns


class Span(TypedDict):
    """A part of a text, its characters from `start` to `end`, with its label and probability."""

    text: str
    label: str
    start: int
    end: int
    score: float


class Generates(Protocol):
    """Continues texts."""

    @overload
    def generate(
        self, text: str, /, *, stream: Literal[False] = False, **sampling: Unpack[SamplingOptions]
    ) -> str: ...
    @overload
    def generate(
        self, text: str, /, *, stream: Literal[True], **sampling: Unpack[SamplingOptions]
    ) -> Iterator[str]: ...
    @overload
    def generate(
        self,
        texts: Several[str],
        /,
        *,
        stream: Literal[False] = False,
        **sampling: Unpack[SamplingOptions],
    ) -> list[str]: ...
    @overload
    def generate(
        self, texts: Several[str], /, *, stream: Literal[True], **sampling: Unpack[SamplingOptions]
    ) -> Iterator[tuple[int, str]]: ...


class Chats(Protocol):
    """Answers in a conversation."""

    @overload
    def chat(
        self,
        messages: Messages,
        *,
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> str: ...
    @overload
    def chat(
        self, messages: Messages, *, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> Iterator[str]: ...

    def chat_session(self) -> ChatSession: ...


class Classifies(Protocol):
    """Gives labels to texts, or pairs of texts; to images, sounds or videos."""

    @overload
    def classify(
        self, one: Medium, /, top: int | None = None, truncate: bool = False
    ) -> Labels: ...
    @overload
    def classify(
        self, several: Several[Medium], /, top: int | None = None, truncate: bool = False
    ) -> list[Labels]: ...


class Embeds(Protocol):
    """Gives texts vectors: (D,) for one, (N, D) for a list."""

    def embed(
        self, text: str | Several[str | tuple[str, str]], truncate: bool = False
    ) -> np.ndarray: ...


class FillsMasks(Protocol):
    """Says what may stand where mask tokens do; a text with several masks gives a list each."""

    @overload
    def fill_mask(
        self, text: str, top: int = 5, truncate: bool = False
    ) -> Labels | list[Labels]: ...
    @overload
    def fill_mask(
        self, text: Several[str], top: int = 5, truncate: bool = False
    ) -> list[Labels | list[Labels]]: ...


class Tags(Protocol):
    """Finds spans in texts, or says what each word is. Words of a text are a tuple."""

    @overload
    def tag(self, text: str | tuple[str, ...], group: bool = True) -> list[Span]: ...
    @overload
    def tag(self, text: Several[str | Sequence[str]], group: bool = True) -> list[list[Span]]: ...


class Captions(Protocol):
    """Writes what images show, or answers questions about them."""

    @overload
    def caption(
        self,
        image: Medium,
        prompt: str | None = None,
        *,
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
        *,
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


class Transcribes(Protocol):
    """Writes down what is said in sounds."""

    @overload
    def transcribe(
        self,
        sound: Medium,
        language: str | None = None,
        *,
        stream: Literal[False] = False,
        **sampling: Unpack[SamplingOptions],
    ) -> str: ...
    @overload
    def transcribe(
        self,
        sound: Medium,
        language: str | None = None,
        *,
        stream: Literal[True],
        **sampling: Unpack[SamplingOptions],
    ) -> Iterator[str]: ...
    @overload
    def transcribe(
        self,
        sound: Several[Medium],
        language: str | None = None,
        *,
        stream: Literal[False] = False,
        **sampling: Unpack[SamplingOptions],
    ) -> list[str]: ...
    @overload
    def transcribe(
        self,
        sound: Several[Medium],
        language: str | None = None,
        *,
        stream: Literal[True],
        **sampling: Unpack[SamplingOptions],
    ) -> Iterator[tuple[int, str]]: ...


class EmbedsMedia(Protocol):
    """Gives images, sounds or videos vectors: (D,) for one, (N, D) for a list."""

    def embed_image(self, image: Medium | Several[Medium]) -> np.ndarray: ...
    def embed_audio(
        self, sound: Medium | Several[Medium], truncate: bool = False
    ) -> np.ndarray: ...
    def embed_video(self, video: Medium | Several[Medium]) -> np.ndarray: ...


class ZeroShot(Protocol):
    """Compares media with texts, and so gives them labels that no training named."""

    def embed_text(self, text: str | Several[str], truncate: bool = False) -> np.ndarray: ...

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
