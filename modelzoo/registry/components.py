"""Architectures, tasks and exporters by name. A name is free; using one imports its module."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from modelzoo import plugins
from modelzoo.about import install_command
from modelzoo.errors import MissingDependencyError, PluginError, UnknownNameError, nearest
from modelzoo.registry import definitions

__all__ = [
    "CORE",
    "KINDS",
    "add",
    "architecture",
    "check",
    "exporter",
    "is_fixed",
    "known",
    "stated",
    "task",
    "where",
]

ARCHITECTURES = Path(__file__).parents[1] / "architectures"

# The only list of the core's tasks and exporters. An architecture is a file that defines `build`.
CORE = {
    "architectures": {
        path.stem: f"modelzoo.architectures.{path.stem}:build"
        for path in sorted(ARCHITECTURES.glob("*.py"))
        if "\ndef build(" in path.read_text(encoding="utf-8")
    },
    "tasks": {
        "audio-classification": "modelzoo.tasks.media_classification:AudioClassificationTask",
        "captioning": "modelzoo.tasks.captioning:CaptioningTask",
        "causal-lm": "modelzoo.tasks.causal_lm:CausalLMTask",
        "contrastive": "modelzoo.tasks.contrastive:ContrastiveTask",
        "image-classification": "modelzoo.tasks.media_classification:ImageClassificationTask",
        "masked-lm": "modelzoo.tasks.masked_lm:MaskedLMTask",
        "mixture": "modelzoo.tasks.mixture:MixtureTask",
        "question-answering": "modelzoo.tasks.question_answering:QuestionAnsweringTask",
        "reranking": "modelzoo.tasks.reranking:RerankingTask",
        "seq2seq-lm": "modelzoo.tasks.seq2seq_lm:Seq2SeqLMTask",
        "speech-to-text": "modelzoo.tasks.speech_to_text:SpeechToTextTask",
        "text-classification": "modelzoo.tasks.text_classification:TextClassificationTask",
        "text-embedding": "modelzoo.tasks.text_embedding:TextEmbeddingTask",
        "token-classification": "modelzoo.tasks.token_classification:TokenClassificationTask",
        "video-classification": "modelzoo.tasks.media_classification:VideoClassificationTask",
    },
    "exporters": {
        "litertlm": "modelzoo.exporting.formats.litertlm:export",
        "savedmodel": "modelzoo.exporting.formats.savedmodel:export",
        "tflite": "modelzoo.exporting.formats.tflite:export",
    },
}

KINDS = {"architecture": "architectures", "task": "tasks", "exporter": "exporters"}

# What other libraries call a task.
_ELSEWHERE = {
    "automatic-speech-recognition": "speech-to-text",
    "classification": "text-classification",
    "feature-extraction": "text-embedding",
    "fill-mask": "masked-lm",
    "image-to-text": "captioning",
    "named-entity-recognition": "token-classification",
    "ner": "token-classification",
    "part-of-speech-tagging": "token-classification",
    "sentence-similarity": "text-embedding",
    "sentiment": "text-classification",
    "sentiment-analysis": "text-classification",
    "summarization": "seq2seq-lm",
    "text-generation": "causal-lm",
    "text-ranking": "reranking",
    "text2text-generation": "seq2seq-lm",
    "translation": "seq2seq-lm",
    "zero-shot-image-classification": "contrastive",
}

# What was registered in this process: group -> name -> object.
_registered: dict[str, dict[str, Any]] = {group: {} for group in CORE}


def architecture(name: str) -> Callable:
    """The function `build(*, ...) -> keras.Model` of a name; imports its module.

    Raises:
        UnknownNameError: no such architecture, with the nearest.
        PluginError: it is a plugin's, and the plugin cannot be used.
    """
    return _object("architecture", name)


def task(name: str) -> type:
    """The task of a name; imports its module. Raises as `architecture`."""
    return _object("task", name)


def exporter(name: str) -> Callable:
    """The exporter of a name; imports its module. Raises as `architecture`."""
    return _object("exporter", name)


def add(kind: str, name: str, item: object) -> None:
    """Gives `name` to an object of this process; the last one wins."""
    _registered[KINDS[kind]][name] = item


def is_fixed(kind: str, name: str) -> bool:
    """Whether the core or an installed plugin has this name, so that it is not free to take."""
    group = KINDS[kind]
    namespace, slash, short = name.partition("/")
    if not slash:
        return name in CORE[group]
    return any(
        plugin.namespace == namespace and short in getattr(plugin, group)
        for plugin in plugins.discover()
    )


def known(kind: str) -> list[str]:
    """Every name that can be used: the core's, those of this process, those of sound plugins."""
    group = KINDS[kind]
    theirs = [
        f"{plugin.namespace}/{short}"
        for plugin in plugins.discover()
        if plugin.usable
        for short in getattr(plugin, group)
    ]
    return sorted({*CORE[group], *_registered[group], *theirs})


def check(kind: str, name: str) -> None:
    """Raise UnknownNameError unless the name is known, with nothing imported.

    >>> check("task", "text-classifcation")
    Traceback (most recent call last):
    modelzoo.errors.UnknownNameError: 'text-classifcation' is not a task
      did you mean: text-classification?
      next: choose one of ...
    """
    if "/" not in name and name not in (*CORE[KINDS[kind]], *_registered[KINDS[kind]]):
        raise _unknown(kind, name)


def stated(task: str, attribute: str) -> Any:
    """A literal that a task's class states (see `tasks.profile.Profile`), with nothing imported.

    Returns: `None` where it is not to be read from the source.

    Example:
        >>> stated("seq2seq-lm", "fields")
        (('source', 'target'),)
    """
    if task in _registered["tasks"]:
        return getattr(_registered["tasks"][task], attribute, None)
    if task in CORE["tasks"]:
        target = CORE["tasks"][task]
    else:
        _, target = plugins.target_of("tasks", task)
    return definitions.constant(target, attribute)


def where(name: str, kind: str) -> tuple[str, int]:
    """File and line of an architecture, task or exporter, without importing it."""
    group = KINDS[kind]
    if name in _registered[group]:
        place = definitions.locate_function(_registered[group][name])
        return place or ("<registered>", 0)
    if name in CORE[group]:
        target = CORE[group][name]
    elif "/" in name:
        _, target = plugins.target_of(group, name)
    else:
        raise _unknown(kind, name)
    place = definitions.locate(target)
    if place is None:
        raise PluginError(
            f"the source of {target} is not to be found",
            where=f"{kind} {name}",
            next_step="check that the package is installed as source, and complete",
        )
    return place


def _object(kind: str, name: str) -> Any:
    group = KINDS[kind]
    if name in _registered[group]:
        return _registered[group][name]
    if name in CORE[group]:
        return _import_core(CORE[group][name])
    if "/" not in name:
        raise _unknown(kind, name)
    return plugins.load(group, name)


def _import_core(target: str) -> object:
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("keras", "tensorflow", "jax"):
            raise MissingDependencyError(
                f"{error.name} is not installed", next_step=install_command("tensorflow")
            ) from error
        raise


def _unknown(kind: str, name: str) -> UnknownNameError:
    article = "a" if kind == "task" else "an"
    names = known(kind)
    meant = _ELSEWHERE.get(name) if kind == "task" else None
    return UnknownNameError(
        f"{name!r} is not {article} {kind}",
        did_you_mean=meant or nearest(name, names),
        next_step=f"choose one of {', '.join(names)}",
    )
