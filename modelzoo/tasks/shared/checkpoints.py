"""What several tasks say in a checkpoint of Hugging Face's layout, and read there."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["config_of_labels", "generation_config", "labels_of_config"]

_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")


def labels_of_config(config: Mapping) -> list[str]:
    """The labels of a classifier, in the order of its logits; their library's two if it has none.

    >>> labels_of_config({"id2label": {"1": "good", "0": "bad"}})
    ['bad', 'good']
    """
    labels = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    return [labels[key] for key in sorted(labels, key=int)]


def config_of_labels(options: Mapping) -> dict:
    """`id2label` and `label2id` for the `labels`, or the `num_labels`, of `[task_options]`.

    >>> config_of_labels({"labels": ["bad", "good"]})["label2id"]
    {'bad': 0, 'good': 1}
    """
    labels = options.get("labels") or [f"LABEL_{i}" for i in range(options.get("num_labels") or 0)]
    if not labels:
        return {}
    return {
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }


def generation_config(model, config: Mapping, **more: object) -> dict[str, object]:
    """`generation_config.json` of a model that writes text: the tokens that begin and end one.

    Args:
        config: the `config.json`, which names one token that ends a text.
        more: further keys.

    Returns: {"generation_config.json": content}.
    """
    found: dict[str, object] = {key: config[key] for key in _IDS if key in config}
    tokenizer = model.tokenizer
    if tokenizer is not None and len(tokenizer.stop_tokens) > 1:
        found["eos_token_id"] = sorted(tokenizer.stop_tokens)
    return {"generation_config.json": {**found, **more}}
