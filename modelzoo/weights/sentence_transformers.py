"""What a sentence-transformers directory says beside its BERT: pooling, normalisation, length.

    modules.json                  Transformer, Pooling, maybe Normalize, in this order
    1_Pooling/config.json         how the tokens' vectors become one
    sentence_bert_config.json     the length at which texts are cut

Each is plain JSON of a few lines (Reimers & Gurevych 2019, Sentence-BERT).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelzoo.errors import WeightsError, nearest

__all__ = ["embedding_options", "sentence_transformers_files"]

# Theirs -> ours. The first column is what releases from 5 on write as `pooling_mode`, the second
# the flag that all read.
_POOLINGS = {
    "mean": ("pooling_mode_mean_tokens", "mean"),
    "cls": ("pooling_mode_cls_token", "cls"),
    "max": ("pooling_mode_max_tokens", "max"),
    "lasttoken": ("pooling_mode_lasttoken", "last"),
    "mean_sqrt_len_tokens": ("pooling_mode_mean_sqrt_len_tokens", None),
    "weightedmean": ("pooling_mode_weightedmean_tokens", None),
}
_MODULES = ("Transformer", "Pooling", "Normalize")


def embedding_options(extras: Mapping[str, Any]) -> dict[str, Any] | None:
    """The values that the task text-embedding needs, from a checkpoint's small JSON files.

    Args:
        extras: parsed files by their path in the directory, as in `Checkpoint.extras`.

    Returns:
        `pooling`, `normalize` and, where it is stated, `max_length`, the tokens at which texts are
        cut: as `[task_options]` takes them. `None` where there is no modules.json, so that it is
        not a sentence-transformers model.

    Raises:
        WeightsError: a module, a pooling or a prompt that would be left out.

    Example:
        >>> pooling = {"pooling_mode_cls_token": True}
        >>> modules = [{"path": "", "type": "a.Transformer"}, {"path": "1", "type": "a.Pooling"}]
        >>> embedding_options({"modules.json": modules, "1/config.json": pooling})
        {'pooling': 'cls', 'normalize': False}
    """
    if "modules.json" not in extras:
        return None
    modules = _modules(extras["modules.json"])
    found = dict(modules)
    if [kind for kind, _ in modules] not in (list(_MODULES[:2]), list(_MODULES)):
        raise WeightsError(
            f"its modules are {', '.join(kind for kind, _ in modules)}, and an embedding here is "
            "Transformer, Pooling and maybe Normalize",
            where="modules.json",
            next_step="take a checkpoint without further modules",
        )
    place = f"{found['Pooling']}/config.json"
    sentence = _table(extras, _beside(found["Transformer"], "sentence_bert_config.json"), {})
    _check_text(extras, sentence, found["Transformer"])
    length = sentence.get("max_seq_length")
    if length is not None and (type(length) is not int or length < 1):
        raise WeightsError(
            f"max_seq_length is {length!r}, and no number of tokens",
            where="sentence_bert_config.json",
        )
    options = {
        "pooling": _pooling(_table(extras, place), place),
        "normalize": "Normalize" in found,
    }
    return options if length is None else {**options, "max_length": length}


def sentence_transformers_files(
    task_options: Mapping[str, Any], max_length: int | None, width: int | None = None
) -> dict[str, Any]:
    """The files of a text embedder, by name: what `embedding_options` reads, written.

    Args:
        task_options: of the task text-embedding; what is not there is its default.
        max_length: the tokens at which texts are cut.
        width: numbers of a vector, which sentence-transformers' Pooling wants to be told.

    Example:
        >>> files = sentence_transformers_files({"pooling": "last"}, 512)
        >>> embedding_options(files)
        {'pooling': 'last', 'normalize': True, 'max_length': 512}
    """
    pooling = task_options.get("pooling", "mean")
    ours = {own: flag for flag, own in _POOLINGS.values() if own is not None}
    if pooling not in ours:
        raise WeightsError(
            f"there is no pooling {pooling!r}; there are {', '.join(ours)}",
            did_you_mean=nearest(str(pooling), ours),
        )
    kinds = _MODULES if task_options.get("normalize", True) else _MODULES[:2]
    modules = []
    for index, kind in enumerate(kinds):
        path = f"{index}_{kind}" if index else ""
        kind = f"sentence_transformers.models.{kind}"
        modules.append({"idx": index, "name": str(index), "path": path, "type": kind})
    # The flags, not `pooling_mode`: every release reads them.
    flags = {flag: flag == ours[pooling] for flag, _ in _POOLINGS.values()}
    dimension = {} if width is None else {"word_embedding_dimension": width}
    return {
        "modules.json": modules,
        "1_Pooling/config.json": {**dimension, **flags},
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
    }


# === Reading ===


def _modules(content: object) -> list[tuple[str, str]]:
    """(kind, path) of each module, in order."""
    entries = content if isinstance(content, list) else [None]
    modules = []
    for entry in entries:
        kind, path = (
            (entry.get("type"), entry.get("path")) if isinstance(entry, dict) else (None, None)
        )
        if not isinstance(kind, str) or not isinstance(path, str):
            raise WeightsError(
                "not a list of modules, each with a type and a path", where="modules.json"
            )
        name = kind.rpartition(".")[2]
        if name not in _MODULES:
            raise WeightsError(
                f"the module {name} ({kind}) is not supported; there are {', '.join(_MODULES)}",
                where="modules.json",
                next_step="take a checkpoint without it: its vectors would not be the same",
            )
        modules.append((name, path))
    return modules


def _pooling(config: Mapping[str, Any], place: str) -> str:
    """Ours, of a Pooling's config in either of its two forms."""
    mode = config.get("pooling_mode")
    if mode is None:
        on = [name for name, (flag, _) in _POOLINGS.items() if config.get(flag)]
        unknown = [key for key in config if key.startswith("pooling_mode_") and config[key]]
        known = {flag for flag, _ in _POOLINGS.values()}
        on += [key for key in unknown if key not in known]
        on = on or ["mean"]  # what sentence-transformers takes where none is on
    else:
        on = [mode] if isinstance(mode, str) else list(mode)
    can = [name for name, (_, own) in _POOLINGS.items() if own is not None]
    if len(on) != 1 or on[0] not in can:
        several = " together" if len(on) > 1 else ""
        raise WeightsError(
            f"pooling by {' and '.join(map(str, on))}{several} is not supported; "
            f"there are {', '.join(can)}, one at a time",
            where=place,
            next_step="take another checkpoint",
        )
    return _POOLINGS[on[0]][1]


def _check_text(extras: Mapping[str, Any], sentence: Mapping[str, Any], path: str) -> None:
    """Refuses what would change the text before it is tokenized: it would be left out here."""
    tokenizer = _table(extras, _beside(path, "tokenizer_config.json"), {})
    if sentence.get("do_lower_case") and not tokenizer.get("do_lower_case"):
        raise WeightsError(
            "do_lower_case asks for lower case before the tokenizer, which keeps capitals",
            where="sentence_bert_config.json",
            next_step="set it to false and lower the texts yourself",
        )
    name = "config_sentence_transformers.json"
    prompts = _table(extras, name, {})
    default = prompts.get("default_prompt_name")
    texts = prompts.get("prompts")
    if default is not None and isinstance(texts, dict) and texts.get(default):
        raise WeightsError(
            f"a prompt is put before every text: {texts[default]!r}",
            where=name,
            next_step="set default_prompt_name to null and write it before the texts yourself",
        )


def _table(extras: Mapping[str, Any], name: str, default: dict | None = None) -> dict:
    content = extras.get(name, default)
    if not isinstance(content, dict):
        what = "is missing" if content is None else "is not a JSON object"
        raise WeightsError(
            f"{name} {what}",
            where="modules.json names its folder",
            next_step="copy the directory again, whole",
        )
    return content


def _beside(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
