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
from modelzoo.weights.keys import not_read
from modelzoo.weights.small_files import SENTENCE

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
# Who wrote it; how vectors are compared, and their width; how batches are run.
_UNUSED = (
    "__version__",
    "similarity_fn_name",
    "word_embedding_dimension",
    "embedding_dimension",
    "unpad_inputs",
)
# A prompt's own tokens count, and a text is read by the model's one way to read texts.
_NEUTRAL = {
    "include_prompt": True,
    "model_type": "SentenceTransformer",
    "transformer_task": "feature-extraction",
    "module_output_name": "token_embeddings",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
}
_PROMPTS = "config_sentence_transformers.json"
_NO_LIMIT = 10**9  # tokens; transformers writes 1e30 where there is none
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
    names = [_beside(found["Transformer"], name) for name in SENTENCE]
    name = next((name for name in names if name in extras), names[0])
    sentence, tokenizer = (
        _table(extras, each, {})
        for each in (name, _beside(found["Transformer"], "tokenizer_config.json"))
    )
    _check_text(extras, sentence, tokenizer, name)
    length = _length(sentence, name, "max_seq_length")
    if length is None:  # so does sentence-transformers
        length = _length(tokenizer, "tokenizer_config.json", "model_max_length")
    pooling, prompts = _table(extras, place), _table(extras, _PROMPTS, {})
    _check_keys(sentence, ("max_seq_length", "do_lower_case"), name)
    _check_keys(pooling, ("pooling_mode", *(flag for flag, _ in _POOLINGS.values())), place)
    _check_keys(prompts, ("prompts", "default_prompt_name"), _PROMPTS)
    options = {
        "pooling": _pooling(pooling, place),
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
        width: numbers of a vector, which sentence-transformers' Pooling asks for.

    Example:
        >>> files = sentence_transformers_files({"pooling": "last"}, 512)
        >>> embedding_options(files)
        {'pooling': 'last', 'normalize': True, 'max_length': 512}
    """
    pooling = task_options.get("pooling", "mean")
    ours = {own: flag for flag, own in _POOLINGS.values() if own is not None}
    if pooling not in ours:
        raise WeightsError(
            f"pooling {pooling!r} is not supported; choose one of {', '.join(ours)}",
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
                f"the module {name} ({kind}) is not supported; supported are {', '.join(_MODULES)}",
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
            f"choose one of {', '.join(can)}",
            where=place,
            next_step="take another checkpoint",
        )
    return _POOLINGS[on[0]][1]


def _check_keys(config: Mapping[str, Any], read: tuple[str, ...], where: str) -> None:
    """
    Raises:
        WeightsError: keys that nothing reads, and that might change a vector.
    """
    # Flags of poolings that are on and not known have a message of their own.
    used = {*read, *(key for key in config if key.startswith("pooling_mode_"))}
    rest = not_read(config, used, _NEUTRAL, _UNUSED)
    if rest:
        raise WeightsError(
            f"{', '.join(rest)} is not supported: it would be passed over",
            where=where,
            did_you_mean=nearest(rest[0].partition(" ")[0], read),
            next_step="where you know that it changes no vector, remove it from the file",
        )


def _length(config: Mapping[str, Any], where: str, key: str) -> int | None:
    """A number of tokens; `None` where there is none, or one that stands for "no limit"."""
    length = config.get(key)
    if length is None:
        return None
    if type(length) not in (int, float) or length < 1 or length != length // 1:
        raise WeightsError(f"{key} is {length!r}, and no number of tokens", where=where)
    return None if length >= _NO_LIMIT else int(length)


def _check_text(
    extras: Mapping[str, Any],
    sentence: Mapping[str, Any],
    tokenizer: Mapping[str, Any],
    where: str,
) -> None:
    """Refuses what would change the text before it is tokenized: it would be left out here."""
    if sentence.get("do_lower_case") and not tokenizer.get("do_lower_case"):
        raise WeightsError(
            "do_lower_case asks for lower case before the tokenizer, which keeps capitals",
            where=where,
            next_step="set it to false and lower the texts yourself",
        )
    prompts = _table(extras, _PROMPTS, {})
    default = prompts.get("default_prompt_name")
    texts = prompts.get("prompts")
    if default is not None and isinstance(texts, dict) and texts.get(default):
        raise WeightsError(
            f"a prompt is put before every text: {texts[default]!r}",
            where=_PROMPTS,
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
