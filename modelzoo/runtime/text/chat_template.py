"""A checkpoint's chat template: messages in, the text that the model was trained to go on from.

Chat templates are Jinja source, `chat_template.jinja` beside `tokenizer.json`.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelzoo.errors import (
    DataError,
    MissingDependencyError,
    ModelzooError,
    WeightsError,
    nearest,
    require,
)

FILE = "chat_template.jinja"

# Older ones have holes in the sandbox (CVE-2024-56326, CVE-2025-27516).
_SAFE_JINJA = (3, 1, 6)

# What an assistant's turn may hold in place of content, and the names that reasoning has.
_CALLS = ("tool_calls", "function_call")
_REASONING = ("reasoning_content", "thinking", "reasoning")

# What `render` sets itself.
_GIVEN = {"messages", "add_generation_prompt"}

# Shows whether a template reads parts. No filter changes it, and Python shows it as an escape.
_PROBE = "\U000f1e5e" * 2


class ChatTemplate:
    """A template that has been read and can be rendered, any number of times.

    Args:
        source: Jinja source.
        tokens: what it may write by name: `{"bos_token": "<s>", "eos_token": "</s>"}`.
        where: the file it comes from, for errors.

    Attributes:
        variables: the other names that it reads: `tools`, `enable_thinking`.

    Raises:
        WeightsError: it is not Jinja; the line is named.
        MissingDependencyError: jinja2 is missing, or too old to be safe.

    Example:
        >>> template = ChatTemplate("{% for m in messages %}{{ m.role }}: {{ m.content }}\\n"
        ...                         "{% endfor %}{% if add_generation_prompt %}bot:{% endif %}")
        >>> template.render([{"role": "user", "content": "Hello"}])
        'user: Hello\\nbot:'
    """

    def __init__(self, source: str, tokens: Mapping[str, str] | None = None, where=None):
        self.source, self.tokens, self._where = source, dict(tokens or {}), where
        jinja2 = _safe_jinja()
        from modelzoo.runtime.text.sandbox import Sandbox, TooMuch

        self._sandbox = Sandbox()
        self._lock = threading.Lock()  # the sandbox counts one rendering at a time
        try:
            self._template = self._sandbox.compile_template(source, FILE)
            self.variables = self._sandbox.names_in(source) - _GIVEN - set(self.tokens)
        except jinja2.TemplateSyntaxError as error:
            raise self._wrong(f"is not valid Jinja: {error.message}", error.lineno) from error
        except TooMuch as error:
            raise self._wrong(f"is too large: {error}") from error
        except Exception as error:  # too deep for Python's own compiler, for example
            raise self._wrong(f"cannot be compiled: {error}") from error

    def render(
        self,
        messages: str | Sequence[Mapping],
        *,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """The text of a conversation, up to where the model's next turn begins.

        Args:
            messages: `[{"role": "user", "content": "Hello"}]`, or a str, which is that. Content may
                be a list of parts, `[{"type": "text", "text": "Hello"}]`; a template that reads no
                parts gets their texts, joined with line breaks. Keys that hold `None` are left out.
            add_generation_prompt: end with the opening of the assistant's turn.
            **variables: other names that the template reads: `tools` (a list of JSON schemas),
                `documents`, `enable_thinking`, whatever it was written for.

        Raises:
            DataError: malformed messages, messages that the template rejects, or a variable that it
                does not read.
            WeightsError: the template fails, does what the sandbox forbids, or does not end.

        Example:
            >>> template = ChatTemplate("{{ 'think' if enable_thinking else 'answer' }}")
            >>> template.render("Hello", enable_thinking=False)
            'answer'
        """
        values = {
            "messages": checked_messages(messages),
            "tools": None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            **self.tokens,
            **self.checked_variables(variables),
        }
        if any(isinstance(message.get("content"), list) for message in values["messages"]):
            values["messages"] = self._readable(values)
        return self._written(values)

    def checked_variables(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The variables as plain data of their own.

        Raises:
            DataError: one that the template does not read, or that is not plain data.
        """
        for name in variables:
            if name not in self.variables:
                raise DataError(
                    f"the chat template does not read the variable {name!r}",
                    where=self._where,
                    did_you_mean=nearest(name, self.variables),
                    next_step=f"it reads {', '.join(sorted(self.variables)) or 'messages alone'}",
                )
        return {name: _plain(value, name) for name, value in variables.items()}

    def _readable(self, values: Mapping[str, Any]) -> list[dict]:
        """The messages with their parts joined, where the template reads a str only.

        It reads parts if it writes the text in them, and not the list as Python shows it.
        """
        messages = values["messages"]
        try:
            written = self._written({**values, "messages": [_probed(one) for one in messages]})
        except ModelzooError:
            written = ""  # it treats the list as a str; or it fails again, and then says why
        if _PROBE in written:
            return messages
        return [_joined(message, number) for number, message in enumerate(messages, 1)]

    def _written(self, values: Mapping[str, Any]) -> str:
        from modelzoo.runtime.text.sandbox import Refused, TooMuch

        with self._lock:
            self._sandbox.begin(dict(values))
            try:
                return self._template.render(values)
            except Refused as error:
                raise DataError(
                    f"the chat template rejects these messages: {error}",
                    where=self._where,
                    next_step="change the order or the roles of the messages",
                ) from error
            except TooMuch as error:
                raise self._wrong(f"does not come to an end: {error}", _line(error)) from error
            except Exception as error:  # a sandbox passes on whatever the template runs into
                what = f"fails: {type(error).__name__}: {error}"
                raise self._wrong(what, _line(error)) from error

    def _wrong(self, what: str, line: int | None = None) -> WeightsError:
        at = f", line {line}" if line else ""
        return WeightsError(
            f"the chat template {what}",
            where=f"{self._where or 'the chat template'}{at}",
            next_step="compare it with the one that the checkpoint's authors published",
        )


def read_source(path: str | os.PathLike) -> str:
    """The text of a template's file.

    Raises:
        WeightsError: it is not UTF-8, or cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"the chat template cannot be read: {error}",
            where=path,
            next_step="copy it from its source again",
        ) from error


def checked_messages(messages: str | Sequence[Mapping]) -> list[dict]:
    """The messages as plain dicts of their own; a str is one turn of the user.

    Keys that hold None are left out, which is how templates are written to find them. Content is a
    str, a list of parts, or missing beside tool calls.

    Raises:
        DataError: none at all, no role or content, or values that are not plain data.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not isinstance(messages, Sequence) or isinstance(messages, bytes):
        raise DataError(
            f"messages must be a list of messages, or a str; got {type(messages).__name__}",
            next_step='for example [{"role": "user", "content": "Hello"}]',
        )
    if not messages:
        raise DataError("there are no messages", next_step="give at least one of the user's")
    return [_checked(message, f"message {number}") for number, message in enumerate(messages, 1)]


def change_texts(value, change: Callable[[str], str]) -> Any:
    """A copy of plain data with every str in it changed; the keys of dicts stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [change_texts(one, change) for one in value]
    if isinstance(value, dict):
        return {key: change_texts(one, change) for key, one in value.items()}
    return value


def _checked(message, where: str) -> dict:
    if not isinstance(message, Mapping):
        raise DataError(
            f"a message must be a dict with role and content, not {type(message).__name__}",
            where=where,
        )
    found = {key: value for key, value in message.items() if value is not None}
    if "role" not in found:
        raise DataError("the message has no 'role'", where=where)
    if not isinstance(found["role"], str):
        raise DataError(f"'role' must be a str, not {type(found['role']).__name__}", where=where)
    if not found["role"]:
        raise DataError("the role is empty", where=where, next_step="user, system or assistant")
    reasoning = next((found[name] for name in _REASONING if name in found), None)
    if reasoning is not None:  # as transformers: templates read the first name, gpt-oss' the second
        found = {"thinking": reasoning, **found, "reasoning_content": reasoning}
    content = found.get("content")
    if content is None and not any(found.get(name) for name in (*_CALLS, *_REASONING)):
        raise DataError(
            "the message has no 'content'",
            where=where,
            next_step="only a message with tool_calls may have none",
        )
    if isinstance(content, list | tuple):
        found["content"] = [_part(part, where) for part in content]
    elif content is not None and not isinstance(content, str):
        kind = type(content).__name__
        raise DataError(f"'content' must be a str or a list of parts, not {kind}", where=where)
    return _plain(found, where)


def _part(part, where: str) -> Mapping:
    """A part of a message's content; a str is a part of type text."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        kind = type(part).__name__
        raise DataError(f"a part of 'content' must be a dict, not {kind}", where=where)
    if part.get("type", "text") == "text" and not isinstance(part.get("text"), str):
        raise DataError(
            "a part of 'content' has no 'text'",
            where=where,
            next_step='write it as {"type": "text", "text": "Hello"}',
        )
    return part


def _probed(message: dict) -> dict:
    """The message with another text in each of its parts."""
    if not isinstance(message.get("content"), list):
        return message
    parts = [{**part, "text": _PROBE} if "text" in part else part for part in message["content"]]
    return {**message, "content": parts}


def _joined(message: dict, number: int) -> dict:
    """The message with a str as its content."""
    if not isinstance(message.get("content"), list):
        return message
    for part in message["content"]:
        if part.get("type", "text") != "text":
            raise DataError(
                f"the chat template reads text only, and a part is of type {part['type']!r}",
                where=f"message {number}",
                next_step="leave the part out",
            )
    return {**message, "content": "\n".join(part["text"] for part in message["content"])}


def _plain(value, where: str) -> Any:
    """A copy that holds nothing but JSON's types: any other object has methods to call."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return value if type(value) is kind else kind(value)
    if isinstance(value, list | tuple):
        return [_plain(one, where) for one in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(one, where) for key, one in value.items()}
    raise DataError(f"expected plain data only, no {type(value).__name__}", where=where)


def _line(error: BaseException) -> int | None:
    """The line of the template that was running: Jinja puts it into the traceback."""
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == FILE:
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


def _safe_jinja():
    from importlib.metadata import version  # 9 ms, that only a chat needs

    jinja2 = require("jinja2", "chat")
    found = version("jinja2")
    if tuple(int(number) for number in re.findall(r"\d+", found)[:3]) < _SAFE_JINJA:
        raise MissingDependencyError(
            f"jinja2 {found} does not keep a chat template inside its sandbox",
            next_step=f'pip install "jinja2>={".".join(map(str, _SAFE_JINJA))}"',
        )
    return jinja2
