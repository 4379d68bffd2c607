"""The small JSON files of a checkpoint: one list for the disk, the hub, and those who read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from modelzoo.errors import WeightsError

__all__ = ["ADAPTER", "ADAPTER_WEIGHTS", "MODULES", "SENTENCE", "SMALL", "adapter"]

ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# Where sentence-transformers keeps the length of a text, the first that is there: in the order in
# which it looks for them.
SENTENCE = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)
MODULES = "modules.json"  # a list; the others are tables
# Beside config.json and the tokenizer's own files.
SMALL = (
    MODULES,
    *SENTENCE,
    "config_sentence_transformers.json",
    "tokenizer_config.json",
    "generation_config.json",
    "preprocessor_config.json",
)


def adapter(where: PurePath | str, content: object) -> WeightsError:
    """The rejection of a directory with an adapter, alone or on top of a whole model."""
    content = content if isinstance(content, Mapping) else {}
    kind, base = content.get("peft_type", "an adapter"), content.get("base_model_name_or_path")
    return WeightsError(
        f"an adapter ({kind}, for {base or 'a base model that it does not name'}) lies here, and "
        "adapters are not applied: without it the model would be another",
        where=where,
        next_step="merge it where peft is installed: AutoPeftModelForCausalLM.from_pretrained(DIR)"
        ".merge_and_unload().save_pretrained(NEW), then build NEW; or remove the adapter's files "
        "to read the base model alone",
    )
