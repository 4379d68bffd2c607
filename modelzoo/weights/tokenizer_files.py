"""The tokenizer of a directory in Hugging Face layout, in any of the forms that it comes in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelzoo.errors import WeightsError
from modelzoo.weights.checkpoint import TokenizerFiles

_ROLES = ("pad", "bos", "eos", "unk", "cls", "sep", "mask")
_TEMPLATE = "chat_template.jinja"


def read_tokenizer_files(folder: Path, config: Mapping) -> TokenizerFiles | None:
    """`tokenizer.json`, or one made of `vocab.txt` (BERT) or `vocab.json` and `merges.txt` (GPT-2).

    Args:
        config: the directory's `config.json`, whose `eos_token_id` ends a text.

    Returns: None where there is no tokenizer at all.

    Raises:
        WeightsError: there is one in a form that is not read here.
    """
    settings = _settings(folder)
    if (folder / "tokenizer.json").is_file():
        text = (folder / "tokenizer.json").read_text("utf-8")
    elif (folder / "vocab.txt").is_file():
        text = _wordpiece(folder / "vocab.txt", settings)
    elif (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        text = _byte_level(folder)
    else:
        models = sorted(path.name for path in folder.glob("*.model"))
        if models:
            raise WeightsError(
                f"{models[0]} is a SentencePiece model, and there is no tokenizer.json",
                where=folder,
                next_step="write one where you trust it: AutoTokenizer.from_pretrained(DIR)"
                ".save_pretrained(DIR) of transformers",
            )
        return None
    vocabulary = _vocabulary(text)
    roles = {
        role: token
        for role in _ROLES
        if (token := _token(settings.get(f"{role}_token"))) in vocabulary
    }
    by_id = {id: token for token, id in vocabulary.items()}
    ends = config.get("eos_token_id")
    ends = [by_id[id] for id in (ends if isinstance(ends, list) else [ends]) if id in by_id]
    if ends and roles.get("eos") not in ends:
        roles["eos"] = ends[0]
    start = config.get("decoder_start_token_id")
    if start in by_id and by_id[start] != roles.get("pad"):
        roles["start"] = by_id[start]
    return TokenizerFiles(
        text, roles, tuple(t for t in ends if t != roles.get("eos")), _template(folder, settings)
    )


def _settings(folder: Path) -> dict:
    found: dict = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / name
        if path.is_file():
            try:
                found.update(json.loads(path.read_text("utf-8")))
            except ValueError as error:
                raise WeightsError(f"{name} cannot be read: {error}", where=path) from error
    return found


def _token(value: Any) -> str | None:
    """A token, which may be written as an object with its properties."""
    return value.get("content") if isinstance(value, dict) else value


def _vocabulary(text: str) -> dict[str, int]:
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_str(text).get_vocab()
    except Exception as error:  # tokenizers raises the bare base class
        raise WeightsError(
            f"tokenizer.json cannot be read: {error}", next_step="fetch it again, whole"
        ) from error


def _template(folder: Path, settings: Mapping) -> str | None:
    if (folder / _TEMPLATE).is_file():
        return (folder / _TEMPLATE).read_text("utf-8")
    template = settings.get("chat_template")
    if isinstance(template, list):  # several, by name
        named = {one.get("name"): one.get("template") for one in template}
        template = named.get("default")
    return template


def _wordpiece(path: Path, settings: Mapping) -> str:
    from tokenizers import BertWordPieceTokenizer

    lowercase = bool(settings.get("do_lower_case", True))
    strip = settings.get("strip_accents")
    return BertWordPieceTokenizer(str(path), lowercase=lowercase, strip_accents=strip).to_str()


def _byte_level(folder: Path) -> str:
    from tokenizers import ByteLevelBPETokenizer

    files = (str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer = ByteLevelBPETokenizer(*files)
    if "<|endoftext|>" in tokenizer.get_vocab():
        tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer.to_str()
