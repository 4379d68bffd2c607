"""Decoders around Llama and GPT-2 against `transformers`: same numbers, same text, and back.

As in `test_checkpoints`, `transformers` makes small models with seeded random weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import modelzoo  # noqa: E402
from modelzoo.weights import write_checkpoint  # noqa: E402
from tests.core import number  # noqa: E402
from tests.real.noted import note  # noqa: E402
from tests.real.test_checkpoints import (  # noqa: E402
    _GPT2,
    _LLAMA,
    D,
    F,
    L,
    N,
    V,
    assert_same_weights,
    ids,
    long,
    reference,
    saved,
)

pytestmark = pytest.mark.real

_NEOX = {key: value for key, value in _LLAMA.items() if key != "num_key_value_heads"}
_OPT = {
    "vocab_size": V,
    "hidden_size": D,
    "ffn_dim": F,
    "num_hidden_layers": L,
    "num_attention_heads": 4,
    "max_position_embeddings": N,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
}
# model type -> class, configuration class and its options: all that the type has of its own.
CASES = {
    "cohere": (
        "CohereForCausalLM",
        "CohereConfig",
        {**_LLAMA, "use_qk_norm": True, "attention_bias": True, "logit_scale": 0.7},
    ),
    "gpt_bigcode": ("GPTBigCodeForCausalLM", "GPTBigCodeConfig", _GPT2),
    "gpt_neox": (
        "GPTNeoXForCausalLM",
        "GPTNeoXConfig",
        {**_NEOX, "rotary_pct": 0.5, "rotary_emb_base": 500.0},
    ),
    "gptj": ("GPTJForCausalLM", "GPTJConfig", {**_GPT2, "n_inner": F, "rotary_dim": 4}),
    "granite": (
        "GraniteForCausalLM",
        "GraniteConfig",
        {
            **_LLAMA,
            "embedding_multiplier": 12.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.2,
            "logits_scaling": 3.0,
            "attention_bias": True,
            "mlp_bias": True,
        },
    ),
    "olmo": ("OlmoForCausalLM", "OlmoConfig", {**_LLAMA, "attention_bias": True}),
    "olmo2": ("Olmo2ForCausalLM", "Olmo2Config", {**_LLAMA, "attention_bias": True}),
    "opt": (
        "OPTForCausalLM",
        "OPTConfig",
        {**_OPT, "do_layer_norm_before": False, "word_embed_proj_dim": 24},
    ),
    "phi": ("PhiForCausalLM", "PhiConfig", {**_LLAMA, "qk_layernorm": True}),
    "stablelm": (
        "StableLmForCausalLM",
        "StableLmConfig",
        {
            **_LLAMA,
            "qk_layernorm": True,
            "use_qkv_bias": True,
            "rope_parameters": {"rope_theta": 500.0, "partial_rotary_factor": 0.5},
        },
    ),
    "starcoder2": (
        "Starcoder2ForCausalLM",
        "Starcoder2Config",
        {**_LLAMA, "sliding_window": 8},
    ),
}
# Other values of the same keys.
VARIANTS = {
    "cohere, plain": ("CohereForCausalLM", "CohereConfig", {**_LLAMA, "logit_scale": 1.0}),
    "gpt_bigcode, many heads": (
        "GPTBigCodeForCausalLM",
        "GPTBigCodeConfig",
        {**_GPT2, "multi_query": False, "n_inner": F},
    ),
    "gpt_neox, one after the other": (
        "GPTNeoXForCausalLM",
        "GPTNeoXConfig",
        {**_NEOX, "use_parallel_residual": False, "attention_bias": False, "hidden_act": "relu"},
    ),
    "gpt_neox, tied and stretched": (
        "GPTNeoXForCausalLM",
        "GPTNeoXConfig",
        {
            **_NEOX,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "linear",
                "factor": 2.0,
                "rope_theta": 500.0,
                "partial_rotary_factor": 0.5,
            },
        },
    ),
    "opt, pre-norm": ("OPTForCausalLM", "OPTConfig", _OPT),
    "opt, no final norm": (
        "OPTForCausalLM",
        "OPTConfig",
        {**_OPT, "_remove_final_layer_norm": True, "tie_word_embeddings": False},
    ),
    "opt, Galactica": (
        "OPTForCausalLM",
        "OPTConfig",
        {
            **_OPT,
            "enable_bias": False,
            "layer_norm_elementwise_affine": False,
            "activation_function": "gelu",
        },
    ),
    "phi, whole heads": (
        "PhiForCausalLM",
        "PhiConfig",
        {**_LLAMA, "rope_parameters": {"rope_theta": 500.0, "partial_rotary_factor": 1.0}},
    ),
    "stablelm, parallel": (
        "StableLmForCausalLM",
        "StableLmConfig",
        {**_LLAMA, "use_parallel_residual": True, "tie_word_embeddings": True},
    ),
    "starcoder2, no window": (
        "Starcoder2ForCausalLM",
        "Starcoder2Config",
        {**_LLAMA, "use_bias": False, "tie_word_embeddings": False},
    ),
}

# With a head of keys for each of queries it is a GPT-2, which more programs read.
WRITTEN_AS_GPT2 = {"gpt_bigcode, many heads"}


def difference(theirs, ours) -> float:
    """The largest difference of logits over rows of which one is padded."""
    x = ids(2, 24)
    mask = np.ones_like(x)
    mask[1, 20:] = 0
    with torch.no_grad():
        wanted = theirs(long(x), attention_mask=long(mask)).logits.numpy()
    assert np.abs(wanted).max() > 0.1
    got = number(ours({"token_ids": x, "padding_mask": mask}))
    return note(theirs, np.abs(got - wanted)[mask.astype(bool)].max())


def loaded(case: tuple, folder: Path) -> tuple:
    """Their model of a case, and ours of the checkpoint that it writes."""
    theirs = reference(*case)
    return theirs, modelzoo.build(saved(theirs, folder), compile=False)


@pytest.mark.parametrize("name", [*CASES, *VARIANTS])
def test_a_decoder_has_their_logits_text_and_weights(name, tmp_path):
    theirs, ours = loaded({**CASES, **VARIANTS}[name], tmp_path / "theirs")
    assert difference(theirs, ours) < 1e-4

    prompts = [ids(1, 5)[0].tolist(), ids(1, 11)[0].tolist(), [7, 3]]
    padded = [[0] * (11 - len(p)) + p for p in prompts]
    text = theirs.generate(
        long(padded),
        attention_mask=long([[0] * (11 - len(p)) + [1] * len(p) for p in prompts]),
        max_new_tokens=40,
        do_sample=False,
    )
    assert ours.generate_tokens(prompts, max_new_tokens=40) == text[:, 11:].tolist()

    write_checkpoint(ours, tmp_path / "back")
    if name in WRITTEN_AS_GPT2:
        again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "back")
        assert difference(again.eval(), ours) < 1e-4
    else:
        assert_same_weights(tmp_path / "back", theirs)
