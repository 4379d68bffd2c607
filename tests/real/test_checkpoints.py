"""Checkpoints of every model type, against `transformers`: same numbers, same text, and back.

Nothing is downloaded: `transformers` makes small models with seeded random weights, biases and
gains included, and writes them as it writes real ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import modelzoo  # noqa: E402
from modelzoo.weights import write_checkpoint  # noqa: E402
from tests.core import number  # noqa: E402
from tests.real.noted import assert_close  # noqa: E402

pytestmark = pytest.mark.real

V, D, F, L, N = 61, 32, 48, 3, 64
_BERT = {
    "vocab_size": V,
    "hidden_size": D,
    "intermediate_size": F,
    "num_hidden_layers": L,
    "num_attention_heads": 4,
    "max_position_embeddings": N,
}
_LLAMA = {**_BERT, "num_key_value_heads": 2, "eos_token_id": None, "pad_token_id": 0}
_T5 = {
    "vocab_size": V,
    "d_model": D,
    "d_kv": 8,
    "d_ff": F,
    "num_layers": L,
    "num_heads": 4,
    "eos_token_id": None,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
_GPT2 = {"vocab_size": V, "n_embd": D, "n_layer": L, "n_head": 4, "n_positions": N}
_GPT2 = {**_GPT2, "bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
_QWEN = {"head_dim": 16, "tie_word_embeddings": True}
_GEMMA = {"head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 12, "_sliding_window": 8}
_BART = {
    "vocab_size": V,
    "d_model": D,
    "encoder_layers": L,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": F,
    "decoder_ffn_dim": F,
    "max_position_embeddings": N,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
    "forced_eos_token_id": None,
    "decoder_start_token_id": 2,
}

DECODERS = {
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", _GPT2),
    "openai-gpt": ("OpenAIGPTLMHeadModel", "OpenAIGPTConfig", _GPT2),
    "llama": ("LlamaForCausalLM", "LlamaConfig", {**_LLAMA, "head_dim": 8}),
    "llama tied, biases": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {**_LLAMA, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    ),
    "llama 3": ("LlamaForCausalLM", "LlamaConfig", {**_LLAMA, "rope_parameters": _LLAMA3}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", _LLAMA),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {**_LLAMA, **_QWEN}),
    "gemma3_text": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {**_LLAMA, **_GEMMA, "num_hidden_layers": 7, "num_key_value_heads": 1},
    ),
    "gemma3_text, capped": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {
            **_LLAMA,
            **_GEMMA,
            "final_logit_softcapping": 3.0,
        },
    ),
}
_MODERN = {"local_attention": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_MODERN = {**_MODERN, "cls_token_id": 1, "sep_token_id": 2}
_DISTIL = {"vocab_size": V, "dim": D, "hidden_dim": F, "n_layers": L, "n_heads": 4}
_DISTIL = {**_DISTIL, "max_position_embeddings": N}
_ROBERTA = {**_BERT, "max_position_embeddings": N + 2, "type_vocab_size": 1, "pad_token_id": 1}
ENCODERS = {
    "bert": ("BertForPreTraining", "BertConfig", _BERT),
    "bert mlm": ("BertForMaskedLM", "BertConfig", _BERT),
    "bert alone": ("BertModel", "BertConfig", _BERT),
    "bert classifier": ("BertForSequenceClassification", "BertConfig", {**_BERT, "num_labels": 3}),
    "roberta": ("RobertaForMaskedLM", "RobertaConfig", _ROBERTA),
    "roberta classifier": ("RobertaForSequenceClassification", "RobertaConfig", _ROBERTA),
    "distilbert": ("DistilBertForMaskedLM", "DistilBertConfig", _DISTIL),
    "distilbert classifier": (
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        _DISTIL,
    ),
    "modernbert": ("ModernBertForMaskedLM", "ModernBertConfig", {**_BERT, **_MODERN}),
    "modernbert alone": ("ModernBertModel", "ModernBertConfig", {**_BERT, **_MODERN}),
}
_SWITCH = {**_T5, "num_experts": 3, "expert_capacity": N}  # room for every token, as ours have
_SWITCH |= {"num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1, "num_decoder_layers": L}
SEQ2SEQ = {
    "t5": ("T5ForConditionalGeneration", "T5Config", _T5),
    "t5 v1.1": (
        "T5ForConditionalGeneration",
        "T5Config",
        {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "bart": ("BartForConditionalGeneration", "BartConfig", _BART),
    "switch": ("SwitchTransformersForConditionalGeneration", "SwitchTransformersConfig", _SWITCH),
}


def reference(kind: str, config: str, options: dict):
    """A seeded random model of theirs in which no bias is zero and no gain is one."""
    torch.manual_seed(0)
    options = dict(options)
    made = getattr(transformers, config)(**options)
    model = getattr(transformers, kind)(made).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.add_(noise * (0.3 if parameter.ndim == 1 else 0.1))
    return model


def saved(model, folder: Path, **options) -> Path:
    model.save_pretrained(folder, **options)
    return folder


def ids(rows: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, V, (rows, length)).astype("int32")


def long(array) -> torch.Tensor:
    return torch.tensor(np.asarray(array)).long()


def near(theirs, got, wanted) -> None:
    assert_close(theirs, number(got), wanted.detach().numpy())


# Said in another way, or by a tokenizer, which these models have not.
OTHERWISE = {"dtype", "architectures", "n_inner", "decoder_start_token_id"}
OTHERWISE |= {f"{role}_token_id" for role in ("pad", "bos", "eos")}


def assert_same_weights(folder: Path, model) -> None:
    """`transformers` opens the folder, misses nothing, and has the same bits."""
    again, report = type(model).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    wanted = model.state_dict()
    assert set(again.state_dict()) == set(wanted)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, wanted[name]), name
    ours, theirs = again.config.to_dict(), model.config.to_dict()
    for key in json.loads((folder / "config.json").read_text()):
        if key not in OTHERWISE and key in theirs:
            assert ours[key] == theirs[key], key


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_has_their_logits_text_and_weights(name, tmp_path):
    theirs = reference(*DECODERS[name])
    ours = modelzoo.build(saved(theirs, tmp_path / "theirs"))
    x = ids(2, 24)
    mask = np.ones_like(x)
    mask[0, :9] = 0  # padded on the left
    mask[1, 20:] = 0  # and on the right
    got = ours({"token_ids": x, "padding_mask": mask})
    wanted = theirs(long(x), attention_mask=long(mask)).logits
    real = mask.astype(bool)
    near(theirs, number(got)[real], wanted[torch.tensor(real)])

    prompts = [x[0, :5].tolist(), x[1, :11].tolist(), x[0, :2].tolist()]
    padded = [[0] * (11 - len(p)) + p for p in prompts]
    text = theirs.generate(
        long(padded),
        attention_mask=long([[0] * (11 - len(p)) + [1] * len(p) for p in prompts]),
        max_new_tokens=50,
        do_sample=False,
    )
    assert ours.generate_tokens(prompts, max_new_tokens=50) == text[:, 11:].tolist()

    write_checkpoint(ours, tmp_path / "back")
    assert_same_weights(tmp_path / "back", theirs)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_has_their_outputs_and_weights(name, tmp_path):
    theirs = reference(*ENCODERS[name])
    ours = modelzoo.build(saved(theirs, tmp_path / "theirs"))
    x = ids(2, 24)
    mask = np.ones_like(x)
    mask[1, 13:] = 0
    inputs = {"input_ids": long(x), "attention_mask": long(mask)}
    given = {"token_ids": x, "padding_mask": mask}
    if name.startswith("bert"):
        segments = (np.arange(24) > 10).astype("int32")[None].repeat(2, 0)
        inputs["token_type_ids"], given["segment_ids"] = long(segments), segments
    with torch.no_grad():
        wanted = theirs(**inputs)
    real = mask.astype(bool)
    if "alone" in name:
        near(theirs, number(ours.backbone(given)["sequence"])[real], wanted[0][torch.tensor(real)])
    elif "classifier" in name:
        near(theirs, ours(given), wanted.logits)
        assert ours.num_labels == theirs.config.num_labels
    else:
        got = ours(given)
        logits = wanted.prediction_logits if name == "bert" else wanted.logits
        near(theirs, number(got["mlm"])[real], logits[torch.tensor(real)])
        if name == "bert":
            near(theirs, got["nsp"], wanted.seq_relationship_logits)
    write_checkpoint(ours, tmp_path / "back")
    assert_same_weights(tmp_path / "back", theirs)


@pytest.mark.parametrize("name", SEQ2SEQ)
def test_an_encoder_decoder_has_their_logits_text_and_weights(name, tmp_path):
    from modelzoo.runtime.generation.loop import generate_tokens
    from modelzoo.runtime.generation.sampling import Sampling

    theirs = reference(*SEQ2SEQ[name])
    ours = modelzoo.build(saved(theirs, tmp_path / "theirs"), max_length=N)
    x, y = ids(2, 20), ids(2, 12, seed=1)
    mask = np.ones_like(x)
    mask[1, 13:] = 0
    if name != "bart":  # which counts positions from the first column on, padding or not
        mask[0, :4] = 0
    given = {"token_ids": x, "padding_mask": mask, "decoder_token_ids": y}
    wanted = theirs(input_ids=long(x), attention_mask=long(mask), decoder_input_ids=long(y)).logits
    near(theirs, ours(given), wanted)

    start = getattr(theirs.config, "decoder_start_token_id", 0)
    sources = [x[0, :7].tolist(), x[1, :13].tolist()]
    padded = long([source + [0] * (13 - len(source)) for source in sources])
    text = theirs.generate(
        padded,
        attention_mask=long([[1] * len(s) + [0] * (13 - len(s)) for s in sources]),
        decoder_start_token_id=start,
        max_new_tokens=50,
        do_sample=False,
    )
    sampling = Sampling(max_new_tokens=50)
    generation = generate_tokens(ours.stepper(sources, sampling), [[start]] * 2, sampling)
    list(generation)
    assert generation.tokens == text[:, 1:].tolist()

    write_checkpoint(ours, tmp_path / "back")
    assert_same_weights(tmp_path / "back", theirs)


def test_shards_half_precision_and_a_base_model_read_alike(tmp_path):
    theirs = reference(*DECODERS["llama"])
    whole = modelzoo.build(saved(theirs, tmp_path / "whole"))
    shards = modelzoo.build(saved(theirs, tmp_path / "shards", max_shard_size="20KB"))
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    for one, other in zip(whole.weights, shards.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    half = theirs.to(torch.bfloat16)
    ours = modelzoo.build(saved(half, tmp_path / "half"))
    table = half.model.embed_tokens.weight.detach().float().numpy()
    np.testing.assert_array_equal(ours.backbone.tokens.embeddings, table)
