"""A conversation as token ids.

What the template writes and what people wrote are kept apart: a control token's literal in a
message stays the text that it is, so nobody can end his turn, or speak as the system, by typing it.
Everything else is tokenized exactly as the whole rendered text would be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modelzoo.errors import ModelzooError, WeightsError
from modelzoo.runtime.text.chat_template import ChatTemplate, change_texts, checked_messages
from modelzoo.runtime.text.tokenizer import Tokenizer

__all__ = ["ChatEncoder", "ChatTemplate", "encode_chat", "no_template", "template_tokens"]

# Private-use characters, none of which has a meaning that a template or a tokenizer could know.
_PRIVATE_USE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))


def encode_chat(
    tokenizer: Tokenizer,
    template: ChatTemplate,
    messages: str | Sequence[Mapping],
    **variables: Any,
) -> list[int]:
    """The ids of a conversation, up to where the model's next turn begins.

    Args:
        messages, **variables: as `ChatTemplate.render` takes them.

    Raises:
        DataError: malformed messages, or messages that the template rejects.
        WeightsError: the template fails, or writes nothing.

    Example:
        >>> from modelzoo.runtime import Tokenizer
        >>> tokenizer = Tokenizer.load("tokenizer.json")
        >>> template = ChatTemplate("{{ messages[0].content }}<|endoftext|>")
        >>> ids = encode_chat(tokenizer, template, [{"role": "user", "content": "<|endoftext|>"}])
        >>> ids.count(tokenizer.token_to_id("<|endoftext|>"))  # the template's own
        1
    """
    return ChatEncoder(tokenizer, template).encode(messages, **variables)


def template_tokens(tokenizer: Tokenizer) -> dict[str, str]:
    """The tokenizer's roles as templates name them: `{"bos_token": "<s>", ...}`."""
    tokens = {role: tokenizer.id_to_token(id) for role, id in tokenizer.roles.items()}
    return {f"{role}_token": token for role, token in tokens.items() if token is not None}


def no_template(where=None) -> ModelzooError:
    """The error that a model cannot chat."""
    return ModelzooError(
        "this model has no chat template, so it continues text and does not chat",
        where=where,
        next_step="take a checkpoint made for chat (its name often ends in -Instruct or -it), or "
        "set model.chat_template to the Jinja source of the one it was trained with",
    )


class ChatEncoder:
    """`encode_chat` for one tokenizer and one template.

    Control tokens are the tokenizer's special ones, and those added ones that the template's source
    names: not every checkpoint marks what opens a turn as special. A reply of the model may hold
    the latter, `<think>` for example, and has them as tokens again.
    """

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate):
        self.tokenizer, self.template = tokenizer, template
        added = tokenizer._backend.get_added_tokens_decoder()
        others = [token.content for token in added.values() if not token.special]
        special = [token.content for token in added.values() if token.special]
        named = [text for text in others if text in template.source and not text.isspace()]
        self._control = {
            token.content: (id, token)
            for id, token in added.items()
            if token.content and token.content in {*special, *named}
        }
        self._special, self._any = _literals(special), _literals([*special, *named])
        self._named = _literals(named)
        self._prefix_at_start = _prefix_at_start(tokenizer)
        self._strict: dict[bool, Tokenizer] = {}

    def encode(self, messages: str | Sequence[Mapping], **variables: Any) -> list[int]:
        """See `encode_chat`."""
        variables = self.template.checked_variables(variables)
        messages, variables, hidden = self._hide(checked_messages(messages), variables)
        text = self.template.render(messages, **variables)
        ids: list[int] = []
        for number, part in enumerate(self._split(text)):
            if number % 2:
                ids.append(self._control[part][0])
            elif part:
                ids += self._encode_text(_show(part, hidden), first=number == 0)
        if not ids:
            raise WeightsError(
                "the chat template writes nothing for these messages",
                next_step="compare it with the one that the checkpoint's authors published",
            )
        return ids

    def _hide(
        self, messages: list[dict], variables: dict[str, Any]
    ) -> tuple[list[dict], dict[str, Any], dict[str, str]]:
        """Control tokens' literals in messages, broken: each one's first character becomes another.

        Only the first: the text keeps its length, and other text stays what it was.

        Returns:
            The messages, the variables, and character that stands in -> character.
        """
        texts: list[str] = []
        change_texts([messages, variables], lambda text: texts.append(text) or text)
        if not any(self._any.search(text) for text in texts):
            return messages, variables, {}
        everything = "".join([*texts, self.template.source, *self._control])
        free = (
            chr(code)
            for codes in _PRIVATE_USE
            for code in codes
            if chr(code) not in everything and _escaped(chr(code)) not in everything
        )
        stand_in = {first: next(free) for first in sorted({text[0] for text in self._control})}

        def hide(value: dict) -> dict:
            literal = self._special if value.get("role") == "assistant" else self._any
            return change_texts(value, lambda text: literal.sub(lambda at: stand_in[at[0]], text))

        hidden = {v: k for k, v in stand_in.items()}
        return [hide(message) for message in messages], hide(variables), hidden

    def _split(self, text: str) -> list[str]:
        """Text, control token, text, …, control token, text; what a token swallows is left out."""
        parts, start = [], 0
        for match in self._any.finditer(text):
            if match.start() < start:
                continue  # inside the token before it
            literal, end = match[1], match.end(1)
            token = self._control[literal][1]
            around = text[match.start() - 1 : match.start()] + text[end : end + 1]
            if token.single_word and re.search(r"\w", around):
                continue
            before = text[start : match.start()]
            parts += [before.rstrip() if token.lstrip else before, literal]
            start = end
            if token.rstrip:
                start += len(text[end:]) - len(text[end:].lstrip())
        return [*parts, text[start:]]

    def _encode_text(self, text: str, first: bool) -> list[int]:
        """The ids of what stands between control tokens; `first`: nothing stands before it."""
        inside = not first and self._prefix_at_start
        if not inside and not self._named.search(text):
            return self.tokenizer.encode(text)
        if inside not in self._strict:
            self._strict[inside] = _strict(self.tokenizer, self._control, inside)
        return self._strict[inside].encode(text)


def _literals(tokens: Iterable[str]) -> re.Pattern:
    """Matches the first character of each literal; group 1 is the longest one that begins there."""
    longest = sorted(filter(None, tokens), key=len, reverse=True)
    if not longest:
        return re.compile("(?!)")
    return re.compile(f"(?=({'|'.join(map(re.escape, longest))})).", re.DOTALL)


def _show(text: str, hidden: Mapping[str, str]) -> str:
    """What `_hide` changed, as it was; also where a template wrote it as ASCII JSON."""
    for stand_in, character in hidden.items():
        text = text.replace(stand_in, character)
        text = text.replace(_escaped(stand_in), _escaped(character))
    return text


def _escaped(character: str) -> str:
    return json.dumps(character)[1:-1]


def _prefix_at_start(tokenizer: Tokenizer) -> bool:
    """Whether only the very beginning of a text gets SentencePiece's space put before it."""
    backend = tokenizer._backend.pre_tokenizer
    return backend is not None and any(_metaspaces(json.loads(backend.__getstate__())))


def _metaspaces(part: dict) -> list[dict]:
    parts = part.get("pretokenizers", [part])
    return [p for p in parts if p["type"] == "Metaspace" and p.get("prepend_scheme") == "first"]


def _strict(tokenizer: Tokenizer, control: Mapping, inside: bool) -> Tokenizer:
    """The tokenizer with all control tokens special, which makes their literals text.

    Args:
        inside: for texts with something before them: no space is put at their start.
    """
    content = json.loads(tokenizer.to_str())
    for token in content["added_tokens"]:
        token["special"] = token["special"] or token["content"] in control
    if inside:
        for part in _metaspaces(content["pre_tokenizer"]):
            part["prepend_scheme"] = "never"
    return Tokenizer.from_str(json.dumps(content), tokenizer.roles)
