"""What several tasks say in a checkpoint of Hugging Face's layout, and read there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

from modelzoo.errors import ModelzooError, RecipeError, WeightsError, nearest

__all__ = [
    "ProblemType",
    "check_labels",
    "check_trainable",
    "classifier_options",
    "config_of_labels",
    "generation_config",
    "is_cross_encoder",
    "labels_of_config",
]

# One label of several (softmax), each label by itself (a sigmoid), or numbers as they are.
ProblemType: TypeAlias = Literal[
    "single_label_classification", "multi_label_classification", "regression"
]

_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")


def labels_of_config(config: Mapping) -> list[str]:
    """The labels of a classifier, in the order of its logits; their library's two if it has none.

    The names win over a `num_labels` that differs, as in `transformers`.

    Raises:
        WeightsError: numbers of labels that are not 0, 1, 2 and so on, or names twice.

    >>> labels_of_config({"id2label": {"1": "good", "0": "bad"}})
    ['bad', 'good']
    >>> labels_of_config({"num_labels": 3})
    ['LABEL_0', 'LABEL_1', 'LABEL_2']
    """
    names, count = config.get("id2label"), config.get("num_labels", config.get("_num_labels"))
    if names is not None and not isinstance(names, Mapping):
        raise WeightsError(f"id2label must be a table of names, not {names!r}", where="config.json")
    if count is not None and (type(count) is not int or count < 1):
        raise WeightsError(
            f"num_labels must be a whole number, 1 or more, not {count!r}", where="config.json"
        )
    if not names:
        return [f"LABEL_{i}" for i in range(count or 2)]
    try:
        by_number = {int(key): str(name) for key, name in names.items()}
    except ValueError as error:
        raise WeightsError(f"id2label counts by numbers: {error}", where="config.json") from error
    labels = [by_number[number] for number in sorted(by_number)]
    if sorted(by_number) != list(range(len(names))) or len(set(labels)) < len(labels):
        raise WeightsError(
            f"id2label must name each of 0 to {len(names) - 1} once, by names of their own; "
            f"it has {dict(names)}",
            where="config.json",
        )
    return labels


def classifier_options(config: Mapping, alone: str | None = None) -> dict:
    """`labels` and `problem_type` as `[task_options]` of a classifier.

    Args:
        alone: what the problem of a head with one label is where the file says none. Default: it
            answers with a sigmoid in any case, as `transformers`' pipelines for texts and images.

    >>> classifier_options({"num_labels": 1})
    {'labels': ['LABEL_0'], 'problem_type': 'multi_label_classification'}
    """
    labels, problem = labels_of_config(config), config.get("problem_type")
    known = get_args(ProblemType)
    if problem is not None and problem not in known:
        raise WeightsError(
            f"problem_type {problem!r} is not supported",
            where="config.json",
            did_you_mean=nearest(str(problem), known),
            next_step=f"choose one of {', '.join(known)}",
        )
    if len(labels) == 1 and problem != "regression":
        problem = (problem or alone) if alone else "multi_label_classification"
    return {"labels": labels, "problem_type": problem}


def is_cross_encoder(config: Mapping) -> bool:
    """Whether a classifier's `config.json` is of a cross-encoder of sentence-transformers.

    >>> is_cross_encoder({"num_labels": 1, "sentence_transformers": {"version": "5.0"}})
    True
    """
    marks = ("sentence_transformers", "sbert_ce_default_activation_function")
    return any(mark in config for mark in marks) and len(labels_of_config(config)) == 1


def check_labels(labels: Sequence[str] | None, problem_type: str | None) -> None:
    """
    Raises:
        RecipeError: labels twice, or one alone and no problem that says what it means.
    """
    alone = problem_type is not None
    if labels is not None and len(set(labels)) < max(1 if alone else 2, len(labels)):
        raise RecipeError(f"a classifier needs two or more different labels, not {labels}")


def check_trainable(problem_type: str | None, labels: Sequence[str] | None = None) -> None:
    """
    Raises:
        ModelzooError: the classifier's answers exclude no other, which is not trained for.
    """
    alone = labels is not None and len(labels) == 1
    if problem_type in ("multi_label_classification", "regression") or alone:
        raise ModelzooError(
            f"a model with {'one label' if alone else f'problem_type = {problem_type!r}'} answers "
            "and is exported; it cannot be trained or evaluated here",
            next_step="build it with **{'task_options.problem_type': None} and two or more labels",
        )


def config_of_labels(options: Mapping) -> dict:
    """`id2label`, `label2id` and `problem_type` of the `[task_options]` of a classifier.

    `num_labels` counts where there are no `labels`.

    >>> config_of_labels({"labels": ["bad", "good"]})["label2id"]
    {'bad': 0, 'good': 1}
    """
    labels = options.get("labels") or [f"LABEL_{i}" for i in range(options.get("num_labels") or 0)]
    if not labels:
        return {}
    problem = options.get("problem_type")
    return {
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        **({"problem_type": problem} if problem else {}),
    }


def generation_config(model, config: Mapping, **more: object) -> dict[str, object]:
    """`generation_config.json` of a model that writes text: the tokens that begin and end one, and
    how it generates.

    Args:
        config: the `config.json`, which names one token that ends a text.
        more: further keys.

    Returns: {"generation_config.json": content}.
    """
    found: dict[str, object] = {key: config[key] for key in _IDS if key in config}
    tokenizer = model.tokenizer
    if tokenizer is not None and len(tokenizer.stop_tokens) > 1:
        found["eos_token_id"] = sorted(tokenizer.stop_tokens)
    return {"generation_config.json": {**found, **model.generation, **more}}
