"""What a bundle's README says about chat: a conversation as text and as token ids, and its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from modelzoo.about import WHEEL
from modelzoo.errors import ModelzooError
from modelzoo.runtime.text.chat import encode_chat, template_tokens
from modelzoo.runtime.text.chat_template import ChatTemplate, read_source
from modelzoo.runtime.text.tokenizer import Tokenizer

QUESTION = "Who wrote Hamlet?"
_MOST_IDS = 400  # that are printed


def chat_section(folder: Path, manifest: Mapping) -> str:
    """Return the README's section "Chat"; "" for a bundle without a chat template.

    Args:
        folder: the bundle, with its tokenizer and its template.
    """
    entry = manifest["tokenizer"] or {}
    if "chat_template" not in entry:
        return ""
    tokenizer = Tokenizer.load(
        folder / entry["file"], entry["roles"], stop_tokens=entry.get("stop_tokens", ())
    )
    stops = ", ".join(
        f"`{tokenizer.id_to_token(id)}` ({id})" for id in sorted(tokenizer.stop_tokens)
    )
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
