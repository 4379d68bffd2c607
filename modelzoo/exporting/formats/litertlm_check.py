"""Does LiteRT-LM write Keras' text? It runs in a child process of its own.

Its native code talks on standard error, and takes the process with it when it fails.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from modelzoo import child_process
from modelzoo.errors import ExportError
from modelzoo.exporting.quantization.precision import Mode
from modelzoo.exporting.verification.samples import TEXTS
from modelzoo.runtime.generation.loop import generate_tokens
from modelzoo.runtime.generation.sampling import Sampling

NEW_TOKENS = 24
QUESTION = "What is the capital of France?"
MINUTES = 10
_INSTEAD = "export with --format tflite, which modelzoo's own runtime runs"


def compare_text(path: Path, model, engine, window: int, mode: Mode) -> dict:
    """Hold LiteRT-LM's greedy text of the file `path` against Keras'.

    Args:
        engine: runs the graph inside the file. Where rounding decides between two tokens, its
            choice is as right as Keras': `verify` compares the two.
        window: S.

    Returns:
        Figures: `version`, `texts` and `equal` (those that are Keras'), and for a model that chats
        `chat`, the question and both replies.

    Raises:
        ExportError: LiteRT-LM cannot load or run the file, splits text into other tokens, or writes
            another text.
    """
    tokenizer, stops = model.tokenizer, tuple(model.tokenizer.stop_tokens)
    prompts = [cut(tokenizer, text, max(1, min(window // 4, 16))) for text in TEXTS[:2]]
    lengths = [len(tokenizer.prefix) + len(tokenizer.encode(text)) for text in prompts]
    news = [min(NEW_TOKENS, window - length) for length in lengths]
    chat = chat_length(model, window)
    answer = run_litert_lm(
        {
            "model": str(path),
            "texts": [*TEXTS, *prompts],
            "prompts": [list(pair) for pair in zip(prompts, news, strict=True)],
            "question": QUESTION if chat else None,
            "max_new_tokens": chat,
        }
    )
    check_tokens(tokenizer, [*TEXTS, *prompts], answer["tokens"])
    equal = 0
    for prompt, new, found in zip(prompts, news, answer["texts"], strict=True):
        sampling = Sampling(max_new_tokens=new, stop_tokens=stops)
        ids = [*tokenizer.prefix, *tokenizer.encode(prompt)]
        right = tokenizer.decode(_generate(model.stepper([ids], sampling), ids, sampling))
        equal += found == right
        if found != right:
            same = tokenizer.decode(_generate(engine.stepper(), ids, sampling))
            _refuse(f"after {prompt!r}", found, right, same)
    figures = {"version": answer["version"], "texts": len(prompts), "equal": equal}
    if chat:
        figures["chat"] = compare_chat(model, engine, answer["chat"], chat)
    return figures


def compare_chat(model, engine, found: str, max_new_tokens: int) -> dict:
    """The same for the reply to a question, through the chat template."""
    from modelzoo.runtime.generation.session import ChatSession, Session
    from modelzoo.runtime.text.chat import ChatTemplate, template_tokens

    right = model.chat_session().chat(QUESTION, max_new_tokens=max_new_tokens)
    if found != right:
        template = ChatTemplate(model.chat_template, template_tokens(model.tokenizer))
        session = Session(lambda length: engine.stepper(), engine.stepper().max_length)
        device = ChatSession(session, model.tokenizer, template)
        same = device.chat(QUESTION, max_new_tokens=max_new_tokens)
        _refuse(f"as the reply to {QUESTION!r}", found, right, same)
    return {"question": QUESTION, "reply": found, "keras": right}


def cut(tokenizer, text: str, count: int) -> str:
    """The beginning of a text, of at most about `count` tokens and one character at least."""
    while len(text) > 1 and len(tokenizer.encode(text)) > count:
        text = text[: max(1, len(text) * 3 // 4)]
    return text


def chat_length(model, window: int) -> int:
    """Tokens to generate in a chat; 0: no chat template, or the question fills the window."""
    if not getattr(model, "chat_template", None):
        return 0
    from modelzoo.runtime.text.chat import ChatTemplate, encode_chat, template_tokens

    template = ChatTemplate(model.chat_template, template_tokens(model.tokenizer))
    room = window - len(encode_chat(model.tokenizer, template, QUESTION))
    return max(0, min(NEW_TOKENS, room))


def check_tokens(tokenizer, texts: list[str], found: list[list[int]]) -> None:
    """Raises ExportError where LiteRT-LM splits a text into other tokens."""
    for text, ids in zip(texts, found, strict=True):
        right = tokenizer.encode(text)
        if ids != right:
            place = [*map(int.__eq__, ids, right), False].index(False)
            raise ExportError(
                f"LiteRT-LM reads this tokenizer otherwise: token {place} of {text[:40]!r}… is "
                f"{ids[place : place + 1]}, and must be {right[place : place + 1]}",
                next_step=_INSTEAD,
            )


def _generate(stepper, ids: list[int], sampling: Sampling) -> list[int]:
    generation = generate_tokens(stepper, [ids], sampling)
    for _ in generation:
        pass
    return generation.tokens[0]


def _refuse(where: str, found: str, right: str, same: str) -> None:
    if found != same:
        raise ExportError(
            f"LiteRT-LM's greedy text is not Keras': {where} it writes {found!r}, and Keras "
            f"{right!r}",
            next_step=_INSTEAD,
        )


# === The child ===


def run_litert_lm(job: dict) -> dict:
    """`answer(job)` in a child.

    Raises:
        ExportError: what LiteRT-LM said, or how the child ended.
    """
    module = "modelzoo.exporting.formats.litertlm_check"
    try:
        ended = child_process.run(module, input=json.dumps(job).encode(), timeout=60 * MINUTES)
    except TimeoutError as error:
        raise ExportError(
            f"LiteRT-LM did not end within {MINUTES} minutes", next_step=_INSTEAD
        ) from error
    if ended.code == 0:
        return json.loads(ended.answer)
    log = ended.log.splitlines()
    said = [line for line in log if line.strip() and not line.startswith(("INFO", "VERBOSE", "I0"))]
    how = f"ended with code {ended.code}"
    raise ExportError(
        f"LiteRT-LM cannot run the file: its process {how}"
        + "".join(f"\n    {line[:200]}" for line in said[-4:]),
        next_step=_INSTEAD,
    )


def answer(job: dict) -> dict:
    """What LiteRT-LM makes of a file.

    Args:
        job: `model` (the file), `texts` to tokenize, `prompts` ([text, tokens to generate]),
            `question` (or None) and `max_new_tokens` of the reply.

    Returns:
        `version`, `tokens` a text, `texts` after each prompt, `chat`: the reply, or None.
    """
    from importlib.metadata import version

    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    greedy = litert_lm.SamplerConfig(top_k=1)
    # Without a cache: it would lie in the bundle, beside the model.
    engine = litert_lm.Engine(job["model"], cache_dir=":nocache")
    texts = []
    for prompt, new in job["prompts"]:
        session = engine.create_session(
            apply_prompt_template=False, sampler_config=greedy, max_output_tokens=new
        )
        session.run_prefill([prompt])
        texts.append("".join(part.texts[0] for part in session.run_decode_async()))
        session.close()
    reply = None
    if job["question"]:
        conversation = engine.create_conversation(
            sampler_config=greedy, max_output_tokens=job["max_new_tokens"]
        )
        message = conversation.send_message(job["question"])
        reply = "".join(part["text"] for part in message["content"] if part["type"] == "text")
        conversation.close()
    return {
        "version": version("litert-lm-api"),
        "tokens": [engine.tokenize(text) for text in job["texts"]],
        "texts": texts,
        "chat": reply,
    }


if __name__ == "__main__":
    with child_process.answer_stream() as answers:
        answers.write(json.dumps(answer(json.load(sys.stdin))).encode())
    os._exit(0)  # the native code would go on to talk while it cleans up
