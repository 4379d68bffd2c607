"""The tokenizer of a directory in Hugging Face layout, in any of the forms that it comes in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelzoo.errors import WeightsError, parsing
from modelzoo.files import read_file, read_json
from modelzoo.runtime.text.tokenizer import backend_of
from modelzoo.weights.checkpoint import TokenizerFiles
from modelzoo.weights.keys import check_config, check_settings
from modelzoo.weights.tokenizer_families import Family, family_of, unknown

if TYPE_CHECKING:
    import tokenizers

_ROLES = ("pad", "bos", "eos", "unk", "cls", "sep", "mask")
_FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
_TEMPLATE = "chat_template.jinja"
_WHOLE, _CONFIG, _ADDED = "tokenizer.json", "tokenizer_config.json", "added_tokens.json"
_MOST_BYTES = 256 << 20
_VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt")


def read_tokenizer_files(folder: Path, config: Mapping) -> TokenizerFiles | None:
    """`tokenizer.json`, or one that its class builds of `vocab.txt` or `vocab.json`, `merges.txt`.

    With what the class and `tokenizer_config.json` put over it: control tokens, added tokens, the
    frame around a text, lower case, spaces before the first word.

    Args:
        config: the directory's `config.json`, whose `eos_token_id` ends a text, and whose
            `model_type` decides where no class is named.

    Returns: None where there is no tokenizer at all.

    Raises:
        WeightsError: there is one in a form that is not read here, or its files contradict each
            other.
    """
    with parsing(folder, WeightsError, "the tokenizer's files cannot be read"):
        return _read(folder, config)


def _read(folder: Path, config: Mapping) -> TokenizerFiles | None:
    check_config(config, folder)
    settings = _settings(folder)
    family, is_named = family_of(settings, config)
    text = before = None
    if (folder / _WHOLE).is_file():
        text = _text(folder / _WHOLE)
        backend = _backend(text, folder)
        before = _state(backend)
        if family is not None and family.model != type(backend.model).__name__:
            if is_named:
                raise _contradiction(family, backend, folder)
            family = None
        if family is not None:
            family.put_over(backend, settings)
    else:
        found = [name for name in _VOCABULARIES if (folder / name).is_file()]
        found += sorted(path.name for path in folder.glob("*.model"))
        if not found:
            return None
        if family is None:
            raise unknown(settings, config, folder)
        backend = family.read(folder, settings)
    _add_stated(backend, settings, folder)
    _add_named(backend, family, settings, config)
    vocabulary = backend.get_vocab()
    tokens = {} if family is None else dict(family.tokens)
    for role in _ROLES:
        if f"{role}_token" in settings:  # an explicit null: no token has the role
            tokens[role] = _token(settings[f"{role}_token"]) or ""
    roles = {role: token for role, token in tokens.items() if not token or token in vocabulary}
    by_id = {id: token for token, id in vocabulary.items()}
    _check_rows(by_id, config, folder)
    ends = config.get("eos_token_id")
    ends = [by_id[id] for id in (ends if isinstance(ends, list) else [ends]) if id in by_id]
    if ends and roles.get("eos") not in ends:
        roles["eos"] = ends[0]
    padding = config.get("pad_token_id")
    if not roles.get("pad") and padding in by_id:
        roles["pad"] = by_id[padding]
    start = config.get("decoder_start_token_id")
    if start in by_id and by_id[start] != roles.get("pad"):
        roles["start"] = by_id[start]
    if family is not None:
        present = {role: token for role, token in roles.items() if token}
        family.framed(backend, present, settings, whole=text is not None)
    if text is None or _state(backend) != before:
        text = backend.to_str()
    return TokenizerFiles(
        text,
        roles,
        tuple(t for t in ends if t != roles.get("eos")),
        _template(folder, settings),
    )


def _text(path: Path) -> str:
    raw = read_file(path, WeightsError, path.name, most=_MOST_BYTES)
    with parsing(path, WeightsError, f"{path.name} cannot be read"):
        return raw.decode("utf-8")


def _settings(folder: Path) -> dict:
    found: dict = {}
    for name in ("special_tokens_map.json", _CONFIG):
        path = folder / name
        if path.is_file():
            table = read_json(path, WeightsError)
            check_settings(table, path)
            found.update(table)
    return found


def _backend(text: str, folder: Path) -> tokenizers.Tokenizer:
    """The tokenizer of a `tokenizer.json`, whose added tokens have the ids that it states."""
    backend = backend_of(
        text, folder, WeightsError, "fetch it again, whole", f"{_WHOLE} cannot be read"
    )
    at = text.find('"added_tokens"')
    if at >= 0:  # the list alone: to parse the vocabulary again would take as long as all else
        stated, _ = json.JSONDecoder().raw_decode(text, text.index("[", at))
        for token in stated:
            _check_id(backend, token["content"], token["id"], folder / _WHOLE)
    return backend


def _state(backend: tokenizers.Tokenizer) -> tuple:
    """What is put over a tokenizer.json, to see whether it has changed."""
    parts = (backend.normalizer, backend.pre_tokenizer, backend.post_processor)
    states = [None if part is None else part.__getstate__() for part in parts]
    return (*states, len(backend.get_added_tokens_decoder()))


def _contradiction(family: Family, backend: tokenizers.Tokenizer, folder: Path) -> WeightsError:
    return WeightsError(
        f"the tokenizer class {family.name} has a vocabulary of the kind {family.model}, and "
        f"{_WHOLE} one of the kind {type(backend.model).__name__}",
        where=folder,
        next_step="fetch both files again; if tokenizer.json is right, write "
        '"tokenizer_class": "PreTrainedTokenizerFast" into tokenizer_config.json',
    )


def _add_stated(backend: tokenizers.Tokenizer, settings: Mapping, folder: Path) -> None:
    """Add the tokens that the files state with their ids."""
    from tokenizers import AddedToken

    named = _named(settings)
    stated: dict[str, tuple[int, AddedToken]] = {}
    path = folder / _ADDED
    if path.is_file():
        for content, id in read_json(path, WeightsError).items():
            special = content in named
            token = AddedToken(content, special=special, normalized=not special)
            stated[content] = _id(id, content, path), token
    path = folder / _CONFIG
    for key, value in (settings.get("added_tokens_decoder") or {}).items():
        value = {"content": value} if isinstance(value, str) else value
        if not isinstance(value, dict) or not isinstance(value.get("content"), str):
            raise WeightsError(
                f"the added token {key} has no content: expected a table with one, got {value!r}",
                where=path,
                next_step="fetch the file again, whole",
            )
        content, special = value["content"], bool(value.get("special", False))
        flags = {flag: bool(value[flag]) for flag in _FLAGS if flag in value}
        id = _id(key, content, path)
        if content in stated and stated[content][0] != id:
            raise WeightsError(
                f"the token {content!r} has the id {id} in {_CONFIG} and {stated[content][0]} in "
                f"{_ADDED}",
                where=folder,
                next_step="fetch both files again",
            )
        flags.setdefault("normalized", not special)
        stated[content] = id, AddedToken(content, special=special, **flags)
    added = backend.get_added_tokens_decoder()
    ordered = sorted(stated.values(), key=lambda one: one[0])
    new = [token for id, token in ordered if id not in added or added[id].content != token.content]
    next_id = max([backend.get_vocab_size(with_added_tokens=False) - 1, *added]) + 1
    for id, token in ordered:
        if backend.token_to_id(token.content) is None:
            if id > next_id:
                raise WeightsError(
                    f"the added token {token.content!r} has the id {id}, and the next free id is "
                    f"{next_id}: the ids have a gap",
                    where=folder,
                    next_step="fetch the vocabulary's files again, whole",
                )
            next_id += id == next_id
    backend.add_tokens(new)
    for id, token in ordered:
        _check_id(backend, token.content, id, folder)


def _add_named(
    backend: tokenizers.Tokenizer, family: Family | None, settings: Mapping, config: Mapping
) -> None:
    """Mark the tokens with a role as control tokens; add those for which the model has a row."""
    from tokenizers import AddedToken

    added = backend.get_added_tokens_decoder()
    special = {token.content for token in added.values() if token.special}
    ours = () if family is None else family.tokens.values()
    known = {token: None for token in ours if backend.token_to_id(token) is not None}
    rows = _rows(config)
    count = backend.get_vocab_size()
    new = []
    for token, value in {**known, **_named(settings)}.items():
        if token in special:
            continue
        if backend.token_to_id(token) is None:
            if rows is not None and count >= rows:
                continue
            count += 1
        flags = value if isinstance(value, dict) else {}
        new.append(AddedToken(token, **{flag: bool(flags.get(flag)) for flag in _FLAGS}))
    if new:
        backend.add_special_tokens(new)


def _rows(config: Mapping) -> int | None:
    """The tokens that the model has vectors of, where config.json says."""
    rows = config.get("vocab_size", (config.get("text_config") or {}).get("vocab_size"))
    return rows if isinstance(rows, int) else None


def _check_rows(by_id: Mapping[int, str], config: Mapping, folder: Path) -> None:
    rows, last = _rows(config), max(by_id, default=0)
    if rows is not None and last >= rows:
        raise WeightsError(
            f"the token {by_id[last]!r} has the id {last:,}, and the model {rows:,} tokens "
            "(vocab_size in config.json)",
            where=folder,
            next_step="fetch config.json and the tokenizer's files again: they are of two models",
        )


def _named(settings: Mapping) -> dict[str, Any]:
    """The tokens that the settings call special -> how they are written there."""
    values = [settings.get(f"{role}_token") for role in _ROLES]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        more = settings.get(key) or []
        values += more.values() if isinstance(more, dict) else more
    return {token: value for value in values if (token := _token(value))}


def _id(value: Any, content: str, path: Path) -> int:
    try:
        return int(value)
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"the added token {content!r} has the id {value!r}, which is not a number", where=path
        ) from error


def _check_id(backend: tokenizers.Tokenizer, content: str, id: int, where: Path) -> None:
    found = backend.token_to_id(content)
    if found != id:
        raise WeightsError(
            f"the added token {content!r} should have the id {id}, and the vocabulary gives it "
            f"{found}: the ids have a gap, or another token has this one",
            where=where,
            next_step="fetch the tokenizer's files again, whole",
        )


def _token(value: Any) -> str | None:
    """A token, which may be written as an object with its properties."""
    return value.get("content") if isinstance(value, dict) else value


def _template(folder: Path, settings: Mapping) -> str | None:
    if (folder / _TEMPLATE).is_file():
        return _text(folder / _TEMPLATE)
    template = settings.get("chat_template")
    if isinstance(template, list):  # several, by name
        named = {one.get("name"): one.get("template") for one in template}
        template = named.get("default")
    return template
