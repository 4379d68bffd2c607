"""Answers as `modelzoo run` prints them: for people, and for programs."""

from __future__ import annotations

import json
import re
import sys

from modelzoo.runtime.abilities.known import ABILITIES

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def shown(ability: str, item, answer, as_lines: bool, number: int | None) -> str:
    """An answer as it is printed; several labelled inputs are repeated, each above its labels.

    Args:
        number: of the input among several, or `None` where there is one.
    """
    if as_lines:
        return as_json(ability, item, answer) + "\n"
    text = as_text(ability, item, answer) + "\n"
    if number is None or ABILITIES[ability].gives not in ("label", "token", "span", "answer"):
        return text
    parts = (item,) if isinstance(item, str) else item
    title = parts[0] if ability == "answer" else " | ".join(parts)
    return f"{chr(10) if number else ''}{title}\n{text}"


def as_text(ability: str, item, answer) -> str:
    """An answer for people."""
    gives = ABILITIES[ability].gives
    if gives == "text":
        return answer
    if gives == "vector":
        return " ".join(f"{number:.6g}" for number in answer)
    if gives == "span":
        return _spans_as_text(answer)
    if gives == "answer":
        return "\n".join(f"{one.score:.4f}  {one.text or '(no answer)'}" for one in answer)
    if not answer:
        return "(no label applies)"
    several = isinstance(answer[0], list)
    blocks = answer if several else [answer]
    return "\n\n".join(
        "\n".join(f"{probability:.4f}  {name}" for name, probability in block) for block in blocks
    )


def _spans_as_text(spans: list[dict]) -> str:
    """Probability, label, text and place of each span, the labels in a column.

    >>> print(_spans_as_text([{"text": "Paris", "label": "LOC", "start": 3, "end": 8, "score": 1}]))
    1.0000  LOC  Paris  (3-8)
    """
    width = max((len(span["label"]) for span in spans), default=0)
    lines = (
        f"{span['score']:.4f}  {span['label']:<{width}}  {span['text']}  "
        f"({span['start']}-{span['end']})"
        for span in spans
    )
    return "\n".join(lines) or "nothing found"


def as_json(ability: str, item, answer) -> str:
    """An answer for programs, on one line."""

    def pairs(block):
        if block and isinstance(block[0], list):
            return [pairs(one) for one in block]
        return [{key: name, "probability": probability} for name, probability in block]

    key = ABILITIES[ability].gives
    if key == "vector":
        value = {"embedding": [float(number) for number in answer]}
    elif key == "text":
        value = {"output": answer}
    elif key == "span":
        value = {"spans": answer}
    elif key == "answer":
        value = {"answers": [one._asdict() for one in answer]}
    else:
        value = {f"{key}s": pairs(answer)}
    return json.dumps({"input": item, **value}, ensure_ascii=False, allow_nan=False)


def with_logprobs(tokenizer, text: str, result, as_line: bool) -> str:
    """A generated text token by token, each with its log-probability."""
    pieces = [tokenizer.decode([token], skip_special=False) for token in result.tokens]
    pairs = list(zip(pieces, result.log_probs, strict=True))
    if as_line:
        tokens = [{"token": piece, "log_prob": number} for piece, number in pairs]
        line = {"input": text, "output": result.text, "tokens": tokens}
        return json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
    return "".join(f"{number:9.4f}  {piece!r}\n" for piece, number in pairs)


def write(text: str) -> None:
    # What a model was trained on must not drive the terminal.
    if sys.stdout.isatty():
        text = _CONTROL.sub("\ufffd", text)
    sys.stdout.write(text)
    sys.stdout.flush()
