"""What a bundle's README says about texts: a prompt and a conversation as token ids."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from modelzoo.about import WHEEL
from modelzoo.errors import ModelzooError
from modelzoo.runtime.generation.loop import encode_prompt
from modelzoo.runtime.text.chat import encode_chat, template_tokens
from modelzoo.runtime.text.chat_template import ChatTemplate, read_source
from modelzoo.runtime.text.tokenizer import Tokenizer

PROMPT, QUESTION = "In the beginning", "Who wrote Hamlet?"
_MOST_IDS = 400  # that are printed


def text_sections(folder: Path, manifest: Mapping) -> list[str]:
    """Return the README's sections "Prompts" and "Chat", those that the bundle has.

    Args:
        folder: the bundle, with its tokenizer and its chat template.
    """
    entry, signatures = manifest["tokenizer"], manifest["signatures"]
    if not entry or "decode" not in signatures or "encode" in signatures:
        return []
    if "caption" in manifest["processing"]:  # "How to drive it" says what goes around a prompt
        return []
    tokenizer = Tokenizer.load(
        folder / entry["file"], entry["roles"], stop_tokens=entry.get("stop_tokens", ())
    )
    sections = [_prompts(tokenizer)]
    if "chat_template" in entry:
        sections.append(_chat(folder, entry, tokenizer))
    return sections


def _prompts(tokenizer: Tokenizer) -> str:
    before = _named(tokenizer, tokenizer.prefix)
    first = f"{before} goes before every prompt" if before else "No token goes before a prompt"
    stops = _named(tokenizer, sorted(tokenizer.stop_tokens))
    end = f" A text ends at {stops}." if stops else ""
    ids = str(encode_prompt(tokenizer, PROMPT))[1:-1]
    return (
        f'## Prompts\n\n{first}.{end} The prompt "{PROMPT}" has these token ids, to compare with '
        f"your tokenizer's:\n\n```text\n{ids}\n```"
    )


def _named(tokenizer: Tokenizer, ids: Iterable[int]) -> str:
    return ", ".join(f"`{tokenizer.id_to_token(id)}` ({id})" for id in ids)


def _chat(folder: Path, entry: Mapping, tokenizer: Tokenizer) -> str:
    stops = _named(tokenizer, sorted(tokenizer.stop_tokens))
    lines = [
        f"`{entry['chat_template']}`, a Jinja template, makes a conversation the text that the "
        "model continues. Without it the model continues a text, and does not answer.",
        _conversation(folder / entry["chat_template"], tokenizer),
        f"- The reply ends at {stops or 'no token of its own'}; add the reply as a message of the "
        "role `assistant` before the next turn.\n"
        "- A control token of the template is one token id. The same characters inside a message "
        "stay text, or a user could end a turn by typing it.\n"
        f'- In Python: `pip install "{WHEEL}[chat]"`, which brings Jinja, then '
        '`model.chat([{"role": "user", "content": "…"}])`; on the command line '
        "`modelzoo run BUNDLE --chat`.",
    ]
    return "## Chat\n\n" + "\n\n".join(lines)


def _conversation(path: Path, tokenizer: Tokenizer) -> str:
    """One turn of a user, rendered and encoded, or why the template rejects it."""
    messages = [{"role": "user", "content": QUESTION}]
    source = read_source(path)
    try:
        template = ChatTemplate(source, template_tokens(tokenizer), path)
        text, ids = template.render(messages), encode_chat(tokenizer, template, messages)
    except ModelzooError as error:
        return f"The template could not render one question of a user: {error.what}."
    rest = f" … ({len(ids):,} in all)" if len(ids) > _MOST_IDS else ""
    dated = " The template writes the date of the day." if "strftime_now" in source else ""
    return (
        f"`{json.dumps(messages)}` becomes{dated and ' (on the day of this export)'}\n\n"
        f"````text\n{text}\n````\n\n"
        f"and these token ids:\n\n```text\n{str(ids[:_MOST_IDS])[1:-1]}{rest}\n```{dated}"
    )
