"""Conversations: the model's next turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, overload

from modelzoo.runtime.abilities.ability import Ability
from modelzoo.runtime.abilities.protocols import Chats
from modelzoo.runtime.engines.base import plan_steps
from modelzoo.runtime.generation.session import ChatSession, Session
from modelzoo.runtime.text.chat import ChatTemplate, no_template, template_tokens
from modelzoo.runtime.text.chat_template import read_source

if TYPE_CHECKING:
    from typing import Unpack

    from modelzoo.runtime.abilities.protocols import Messages
    from modelzoo.runtime.generation.session import ChatOptions


class ChatAbility(Ability, Chats):
    """What `runtime.Model` does with a model that has a chat template: mixed into it."""

    _chat: ChatSession | None = None

    @overload
    def chat(
        self,
        messages: Messages,
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> str: ...
    @overload
    def chat(
        self, messages: Messages, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> Iterator[str]: ...
    def chat(self, messages: Messages, stream: bool = False, **options) -> str | Iterator[str]:
        """The model's next turn; what it has read in earlier calls it does not read again.

        Args:
            messages: the whole conversation, `[{"role": "user", "content": "Hello"}, …]`; a str is
                one turn of the user.
            stream: return an iterator of pieces instead.
            options: as in `generate`; `max_new_tokens` is 512 here. Other names are variables of
                the chat template: `tools`, `enable_thinking`.

        Raises:
            OverflowTextError: longer than the model's window, and `when_full` is not "slide".
            DataError: malformed messages, or messages that the template rejects.
            ModelzooError: a wrong option, or a bundle that does not chat.

        Example:
            >>> from modelzoo.runtime import load
            >>> load("gpt.bundle").chat("Who wrote Hamlet?")
            ' William Shakespeare.'
        """
        if self._chat is None:
            self._chat = self.chat_session()
        return self._chat.chat(messages, stream, **options)

    def chat_session(self) -> ChatSession:
        """A conversation with a state of its own, beside that of `chat`."""
        engine, path = self.engine, self.bundle.chat_template_path
        if path is None and "generate" in self.abilities and "encode" not in engine.signatures:
            raise no_template(self.bundle.directory)
        self._need("chat")
        assert path is not None  # or it could not
        template = ChatTemplate(read_source(path), template_tokens(self._text), path)
        session = Session(lambda length: engine.stepper(), plan_steps(engine.signatures).max_length)
        return ChatSession(session, self._text, template, self.manifest.get("generation"))
