"""A conversation's state: what an earlier turn has put into the KV cache is not read again.

A slot of the state is a position, so it stays right as long as the tokens up to it are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal, Unpack, cast, overload

import numpy as np

from modelzoo.errors import ModelzooError, OverflowTextError, nearest
from modelzoo.runtime.generation.defaults import sampling_with
from modelzoo.runtime.generation.drafting import PassTimes
from modelzoo.runtime.generation.loop import Generation, text_pieces
from modelzoo.runtime.generation.prefill import left_out, shared_start
from modelzoo.runtime.generation.sampling import Sampling, SamplingOptions
from modelzoo.runtime.generation.steppers import DraftStepper, Stepper
from modelzoo.runtime.text.chat import ChatEncoder, ChatTemplate

MAX_REPLY = 512  # tokens of a reply, unless the caller says otherwise


class ChatOptions(SamplingOptions, total=False):
    """Keyword arguments of `chat`; a template may read variables of other names, too."""

    tools: Sequence[Mapping[str, Any]] | None
    documents: Sequence[Mapping[str, Any]] | None
    enable_thinking: bool


class Session:
    """Generates from prompts that mostly begin as the one before.

    Args:
        new_stepper: `new_stepper(length)`, a fresh state of one row with room for `length`
            positions or more, up to the model's window; `None` where the model has no window.
        max_length: the model's window; `None` for a recurrent model, whose state is not a list of
            slots: each prompt is then read from its start.
        stamp: differs from what it was when the model's weights do; then nothing is reused.

    Attributes:
        tokens: those that the state holds, in the order of their slots.

    Example:
        >>> from modelzoo.runtime import load
        >>> engine = load("gpt.bundle").engine
        >>> session = Session(lambda length: engine.stepper(), max_length=64)
        >>> len(list(session.generate([1, 2, 3], Sampling(max_new_tokens=4))))
        4
        >>> len(session.tokens)  # what a next call that begins so does not read again
        6
    """

    def __init__(
        self,
        new_stepper: Callable[[int | None], Stepper],
        max_length: int | None,
        stamp: Callable[[], object] = lambda: None,
    ):
        self.max_length = max_length
        self.tokens: list[int] = []
        self._new_stepper, self._stamp = new_stepper, stamp
        self._stepper: Stepper | None = None
        self._stamped: object = None
        self._turn = 0

    def generate(self, ids: Sequence[int], sampling: Sampling | None = None) -> Generation:
        """Continue `ids`: what the state already holds of their beginning is not read again.

        The next call ends this one's `Generation`, if it still runs.

        With `when_full="slide"` ids that are more than the window has positions lose their
        beginning, half a window at a time, so that most turns still begin as the one before.

        Raises:
            OverflowTextError: more ids than the window has positions, and it is not to slide.
        """
        ids, sampling = [int(token) for token in ids], sampling or Sampling()
        too_many = self.max_length is not None and len(ids) > self.max_length
        if too_many and sampling.when_full == "stop":
            raise OverflowTextError(
                f"the conversation has {len(ids)} tokens, and the model's window {self.max_length}",
                next_step="begin a new one (/clear), leave its first messages out, or let the "
                'window slide: when_full="slide"',
            )
        stepper = self._ready_stepper(len(ids), sampling.max_new_tokens)
        seen = ids[left_out(len(ids), self.max_length) :]
        start = min(shared_start(self.tokens, seen), max(len(seen) - 1, 0))
        self._turn += 1
        return Generation(_Turn(self, stepper, self._turn), [ids], sampling, start=start)

    def _ready_stepper(self, length: int, max_new_tokens: int | None) -> Stepper:
        """A state that is large enough, and empty unless it can be gone on with."""
        stamp = self._stamp()
        room = None
        if self.max_length is not None:
            room = min(length + (max_new_tokens or self.max_length), self.max_length)
            if self._stepper is not None and stamp == self._stamped:
                if (self._stepper.max_length or 0) >= room:
                    return self._stepper
        self._stepper, self._stamped, self.tokens = None, stamp, []  # frees the old one first
        self._stepper = self._new_stepper(room)
        return self._stepper


class _Turn:
    """The session's stepper during one reply: it writes down what the state holds."""

    def __init__(self, session: Session, stepper: Stepper, number: int):
        self._session, self._stepper, self._number = session, stepper, number
        self.batch_size, self.vocab_size = stepper.batch_size, stepper.vocab_size
        self.max_length, self.prefill_length = stepper.max_length, stepper.prefill_length
        self.prefill_lengths = getattr(stepper, "prefill_lengths", (stepper.prefill_length,))
        if hasattr(stepper, "draft_lengths"):
            self.draft_lengths = cast(DraftStepper, stepper).draft_lengths

    @property
    def pass_times(self) -> PassTimes | None:
        return getattr(self._stepper, "pass_times", None)

    def prefill(self, token_ids: np.ndarray, positions: np.ndarray) -> None:
        self._feed(self._stepper.prefill, token_ids, positions)

    def decode(self, token_ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        return self._feed(self._stepper.decode, token_ids, positions)

    def verify(self, token_ids: np.ndarray, positions: np.ndarray) -> np.ndarray:
        # Rejected tokens are written down too: that is what the slots hold.
        return self._feed(cast(DraftStepper, self._stepper).verify, token_ids, positions)

    def _feed(self, call, token_ids, positions):
        session = self._session
        if session._turn != self._number:
            raise ModelzooError(
                "this reply was ended by a later one of the same session",
                next_step="read a stream to its end first, or take another session for it",
            )
        # Padding goes over the next slots: those are lost, and if the call is interrupted its
        # own as well.
        del session.tokens[int(positions[0, 0]) :]
        result = call(token_ids, positions)
        session.tokens += [int(token) for token in token_ids[0] if token >= 0]
        return result


class ChatSession:
    """Conversations with a model, one at a time; each turn reads only what is new.

    Args:
        session: the model's state.
        tokenizer: its "eos" role and its `stop_tokens` end a reply.
        template: the checkpoint's.
        generation: how it generates where a call says nothing; see `generation.defaults`.

    Example:
        >>> from modelzoo.runtime import load
        >>> session = load("gpt.bundle").chat_session()
        >>> messages = [{"role": "user", "content": "Who wrote Hamlet?"}]
        >>> messages += [{"role": "assistant", "content": session.chat(messages)}]
        >>> messages += [{"role": "user", "content": "When?"}]
        >>> reply = session.chat(messages)
    """

    def __init__(
        self,
        session: Session,
        tokenizer,
        template: ChatTemplate,
        generation: Mapping | None = None,
    ):
        self.session, self.tokenizer, self.template = session, tokenizer, template
        self.generation = dict(generation or {})
        self._encoder = ChatEncoder(tokenizer, template)

    @overload
    def chat(
        self,
        messages: str | Sequence[Mapping],
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> str: ...
    @overload
    def chat(
        self,
        messages: str | Sequence[Mapping],
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> Iterator[str]: ...
    def chat(
        self, messages: str | Sequence[Mapping], stream: bool = False, **options
    ) -> str | Iterator[str]:
        """The model's next turn.

        Args:
            messages: the whole conversation, `[{"role": "user", "content": "Hello"}, …]`; a str is
                one turn of the user.
            stream: return an iterator of pieces instead.
            options: the fields of `Sampling`; `max_new_tokens` is 512 here. With
                `when_full="slide"` a long conversation loses its beginning, the system's message
                first. Other names are the template's variables: `tools`, `enable_thinking`.

        Raises:
            OverflowTextError: longer than the model's window, and that is not to slide.
            DataError: malformed messages, or messages that the template rejects.
            ModelzooError: a wrong option, or a template that fails.
        """
        sampling, variables = self._split(options)
        stop_tokens = (*sampling.stop_tokens, *self.tokenizer.stop_tokens)
        sampling = replace(sampling, stop_tokens=stop_tokens)
        ids = self._encoder.encode(messages, **variables)
        generation = self.session.generate(ids, sampling)
        pieces = (piece for _, piece in text_pieces(generation, self.tokenizer, sampling))
        return pieces if stream else "".join(pieces)

    def _split(self, options: Mapping[str, Any]) -> tuple[Sampling, dict[str, Any]]:
        """The generation options, and the template's variables."""
        known = {field.name for field in fields(Sampling)}
        variables = {name: value for name, value in options.items() if name not in known}
        for name in variables:
            if name not in self.template.variables:
                names = sorted(known) + sorted(self.template.variables - known)
                raise ModelzooError(
                    f"unknown generation option {name!r}, and the chat template does not read it",
                    did_you_mean=nearest(name, names),
                    next_step=f"the options are {', '.join(names)}",
                )
        chosen = {name: value for name, value in options.items() if name in known}
        asked = {"max_new_tokens": MAX_REPLY, **self.generation}
        return sampling_with(asked, chosen), variables
