"""From sound to text, a window at a time: on a device and in Keras. numpy only.

How a model begins and what it may not say is data, a manifest's `processing.transcription`:

    {"language": "en" | None, "suppress_tokens": [ids], "begin_suppress_tokens": [ids],
     "max_new_tokens": 224}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np

from modelzoo.errors import BundleError, TokenizerError, nearest
from modelzoo.runtime.abilities.ability import Ability
from modelzoo.runtime.abilities.media import is_one_medium, many_media
from modelzoo.runtime.abilities.protocols import Transcribes
from modelzoo.runtime.engines.base import plan_steps
from modelzoo.runtime.generation.defaults import sampling_with
from modelzoo.runtime.generation.loop import Written, generate_text
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.runtime.generation.steppers import DraftStepper, Stepper
from modelzoo.runtime.media.sounds import open_sound

if TYPE_CHECKING:
    from typing import Unpack

    from modelzoo.runtime.abilities.protocols import Medium, Several
    from modelzoo.runtime.generation.sampling import SamplingOptions

__all__ = ["TranscriptionAbility", "cut_windows", "prompt_of", "transcribe", "transcribes"]

START, WRITE, PLAIN = "<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>"
_SILENCE = 1e-4  # a window with no sample above it, -80 dB, holds nothing to write down
# Languages written without spaces between words, and their scripts.
_WITHOUT_SPACES = {"zh", "yue", "ja", "th", "lo", "km", "my", "bo"}
_SCRIPTS = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3000-\u312f\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff01-\uff65\U00020000-\U0003ffff]"
)
_LOOK_BACK, _PAUSE = 0.25, 0.2  # share of a window to look for a pause in, and its seconds


def transcribes(signatures: Mapping) -> bool:
    """Whether a bundle's signatures write down what is said."""
    encode = signatures.get("encode")
    return "decode" in signatures and encode is not None and "audio" in encode.inputs


class TranscriptionAbility(Ability, Transcribes):
    """What `runtime.Model` does with sound and a decoder: mixed into it."""

    @overload
    def transcribe(
        self,
        sound: Medium,
        language: str | None = None,
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
    def transcribe(
        self, sound, language: str | None = None, stream: bool = False, **sampling
    ) -> Written:
        """What is said in a sound of any length.

        What is longer than the model's window is cut where it is quietest. The texts are joined
        with a space, in languages that have spaces.

        Args:
            sound: a path, the bytes of a file, samples, (samples, rate), or a list of these.
            language: for a model of several languages, "en" or "zh"; default: as it was exported.
            stream: return an iterator of pieces instead; for a list, of (sound, piece).
            sampling: the fields of `Sampling`; `max_new_tokens` counts for each window.

        Returns: a str, for a list a list of str.

        Raises:
            DataError: a file that cannot be read.
            TokenizerError: a language that the model does not know.
            ModelzooError: a wrong option, or a bundle that does not transcribe.

        Example:
            >>> from modelzoo.runtime import load
            >>> load("whisper.bundle").transcribe("speech.wav")
            'And so, my fellow Americans.'
        """
        self._need("transcribe")
        encode = self.engine.signatures["encode"]
        return transcribe(
            lambda heard, _: self.engine.stepper({key: heard[key] for key in encode.inputs}),
            self._text,
            self.bundle.processing,
            sound,
            language,
            max_length=plan_steps(self.engine.signatures).max_length,
            stream=stream,
            generation=self.manifest.get("generation"),
            **sampling,
        )


def transcribe(
    begin: Callable[[Mapping[str, np.ndarray], Sampling], Stepper],
    tokenizer,
    processing: Mapping,
    sound,
    language: str | None = None,
    *,
    max_length: int | None,
    stream: bool = False,
    generation: Mapping[str, Any] | None = None,
    **sampling,
) -> Written:
    """What is said in a sound, or in each of a list of them; see `TranscriptionAbility`.

    Args:
        begin: `begin({"audio": (1, N), "num_samples": (1,)}, sampling)` gives a stepper that has
            heard it.
        processing: the model's, with `audio` and `transcription`.
        max_length: positions of the decoder's window, if it has one.
        generation: how the checkpoint generates; see `runtime.generation.defaults`.
    """
    how = processing.get("transcription")
    if not isinstance(how, Mapping) or "audio" not in processing:
        raise BundleError(
            "the manifest has no processing.transcription, which says how a text begins",
            next_step="export the model again",
        )
    many = not is_one_medium(sound) and not isinstance(sound, Mapping)
    language = language or how.get("language")
    prompt = prompt_of(tokenizer, language)
    room = None if max_length is None else max_length - len(prompt) + 1
    limits = [n for n in (how.get("max_new_tokens") or None, room) if n is not None]
    most = min(limits, default=None)
    options = sampling_with({"max_new_tokens": most, **(generation or {})}, sampling)
    rate, length = (processing["audio"][key] for key in ("sample_rate", "num_samples"))

    def pieces_of(source) -> Iterator[str]:
        end = ""  # the last character written
        for window in cut_windows(open_sound(source, rate), length, rate):
            if np.abs(window).max() < _SILENCE:
                continue
            heard = {
                "audio": np.pad(window, (0, length - len(window)))[None],
                "num_samples": np.array([len(window)], np.int32),
            }
            stepper = Restrained(begin(heard, options), tokenizer, how, len(prompt) - 1)
            starts, spaced = True, False
            for _, piece in generate_text(stepper, tokenizer, [prompt], options, stream=True):
                if starts:
                    spaced |= piece[:1].isspace()
                    piece = piece.lstrip()
                if not piece:
                    continue
                if starts and end and (spaced or has_spaces(language, end, piece[0])):
                    piece = f" {piece}"
                yield piece
                starts, end = False, piece[-1]

    sounds = many_media(sound) if many else [sound]
    if stream:
        pieces = ((row, piece) for row, one in enumerate(sounds) for piece in pieces_of(one))
        return pieces if many else (piece for _, piece in pieces)
    texts = ["".join(pieces_of(one)).strip() for one in sounds]
    return texts if many else texts[0]


def has_spaces(language: str | None, before: str, after: str) -> bool:
    """Whether a space belongs between two characters that end and begin texts in a language.

    Args:
        language: as Whisper writes it, "en" or "zh"; `None` if only the characters tell.

    >>> has_spaces("en", "a", "b"), has_spaces("ja", "a", "b"), has_spaces(None, "你", "好")
    (True, False, False)
    """
    if language is not None:
        return language not in _WITHOUT_SPACES
    return not (_SCRIPTS.match(before) or _SCRIPTS.match(after))


def prompt_of(tokenizer, language: str | None = None) -> list[int]:
    """The ids that precede a text: start, language and task where given, no timestamps.

    A tokenizer without Whisper's control tokens begins with its start, bos or pad token.

    Raises:
        TokenizerError: no token for this language; none to begin with.
    """
    start = tokenizer.token_to_id(START)
    if start is None:
        found = [
            tokenizer.roles[role] for role in ("start", "bos", "pad") if role in tokenizer.roles
        ]
        if not found:
            raise TokenizerError(
                "the tokenizer has no token for texts to begin with (start or pad)"
            )
        start = found[0]
    ids = [start]
    if language is not None:
        for token in (f"<|{language}|>", WRITE):
            id = tokenizer.token_to_id(token)
            if id is None:
                known = [tokenizer.id_to_token(id) for id in tokenizer.special_ids]
                raise TokenizerError(
                    f"the tokenizer has no token {token}",
                    did_you_mean=nearest(token, [one for one in known if one]),
                    next_step='give the language by its code, "en" or "zh"',
                )
            ids.append(id)
    plain = tokenizer.token_to_id(PLAIN)
    return ids if plain is None else [*ids, plain]


class Restrained:
    """A stepper that gives no chance to what is not to be said.

    That is the model's own list, every control token but those that end a text, and ids that the
    tokenizer does not know; after the prompt also what a text must not begin with.

    Args:
        first: the position of the prompt's last token.
    """

    batch_size: int
    max_length: int | None
    vocab_size: int
    prefill_length: int

    def __init__(self, stepper: Stepper, tokenizer, how: Mapping, first: int):
        self._stepper, self._first = stepper, first
        size = stepper.vocab_size
        never = {*how.get("suppress_tokens", ()), *(tokenizer.special_ids - tokenizer.stop_tokens)}
        never.update(range(tokenizer.vocab_size, size))
        self._never = np.array(sorted(id for id in never if id < size), np.intp)
        begin = (id for id in how.get("begin_suppress_tokens", ()) if id < size)
        self._not_first = np.array(sorted(begin), np.intp)

    def __getattr__(self, name):
        return getattr(self._stepper, name)

    def prefill(self, token_ids: np.ndarray, positions: np.ndarray) -> None:
        self._stepper.prefill(token_ids, positions)

    def decode(self, token_ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        logits = self._stepper.decode(token_ids, positions)
        return self._restrained(logits[:, None], positions)[:, -1]

    def verify(self, token_ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        stepper = cast(DraftStepper, self._stepper)  # `draft_lengths` is its own, or missing
        return self._restrained(stepper.verify(token_ids, positions), positions)

    def _restrained(self, logits: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """A copy of logits (B, T, V) behind the tokens at positions (B, T)."""
        logits = np.array(logits)
        logits[..., self._never] = -np.inf
        if positions[0, 0] == self._first:
            logits[:, 0, self._not_first] = -np.inf
        return logits


def cut_windows(sound: np.ndarray, length: int, rate: int) -> list[np.ndarray]:
    """A sound (n,) in pieces of `length` samples or fewer, cut in the quietest moment near the end.

    >>> [len(piece) for piece in cut_windows(np.ones(25), 10, 10)]
    [9, 9, 7]
    """
    pieces = []
    pause = max(1, int(_PAUSE * rate))
    while len(sound) > length:
        start = length - max(pause, int(_LOOK_BACK * length))
        energy = np.cumsum(np.concatenate([[0.0], np.square(sound[start:length], dtype="float64")]))
        spans = energy[pause:] - energy[:-pause]
        # Of equals the last, so that windows stay long.
        quietest = len(spans) - 1 - int(np.argmin(spans[::-1]))
        at = max(1, start + quietest + pause // 2)
        pieces.append(sound[:at])
        sound = sound[at:]
    return [*pieces, sound]
