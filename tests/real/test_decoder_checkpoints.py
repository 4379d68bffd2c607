"""Decoders with windows, softcaps, layers without positions, and stretched rotary positions.

As test_checkpoints.py: `transformers` makes small seeded models; logits, text and weights agree.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import modelzoo  # noqa: E402
from modelzoo.errors import RecipeError  # noqa: E402
from modelzoo.weights import write_checkpoint  # noqa: E402
from tests.core import number  # noqa: E402
from tests.real.noted import note  # noqa: E402
from tests.real.test_checkpoints import (  # noqa: E402
    OTHERWISE,
    N,
    V,
    ids,
    long,
    reference,
    saved,
)

pytestmark = pytest.mark.real

_SIZES = {
    "vocab_size": V,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": N,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
_LOCAL, _GLOBAL = "sliding_attention", "full_attention"
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 100.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
_MSCALE = {"mscale": 0.7, "mscale_all_dim": 1.3, "truncate": False, "beta_fast": 4, "beta_slow": 2}


def _longrope(pairs: int, **more) -> dict:
    factors = {"short_factor": [1.0, 1.1, 1.25, 1.5, 1.75, 1.8][:pairs]}
    factors["long_factor"] = [1.5, 2.0, 3.0, 4.5, 6.0, 7.0][:pairs]
    return {"rope_type": "longrope", "rope_theta": 50.0, **factors, **more}


def _case(name: str, **options) -> tuple[str, str, dict]:
    return f"{name}ForCausalLM", f"{name}Config", {**_SIZES, **options}


_PHI3 = {"original_max_position_embeddings": 32}
_QWEN = {"use_sliding_window": True, "sliding_window": 8}
_MIXTRAL = {"num_local_experts": 4, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.03}
_QWEN_MOE = {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 20}
# Model type, and what is special: (class, class of the configuration, options).
CASES = {
    "mistral": _case("Mistral", sliding_window=8, head_dim=16),
    "mistral, no window": _case("Mistral", sliding_window=None, tie_word_embeddings=True),
    "mistral, yarn": _case("Mistral", sliding_window=8, rope_parameters=_YARN),
    "ministral": _case(
        "Ministral", sliding_window=8, head_dim=16, layer_types=[_GLOBAL, *[_LOCAL] * 3, _GLOBAL]
    ),
    "mixtral": _case("Mixtral", **_MIXTRAL),
    "mixtral, window": _case("Mixtral", **_MIXTRAL, sliding_window=8, head_dim=16),
    "qwen2_moe": _case("Qwen2Moe", **_QWEN_MOE, shared_expert_intermediate_size=28),
    "qwen2_moe, some layers, windows": _case(
        "Qwen2Moe",
        **{**_QWEN_MOE, **_QWEN, "max_window_layers": 2, "norm_topk_prob": True},
        shared_expert_intermediate_size=28,
        decoder_sparse_step=2,
    ),
    "qwen3_moe": _case("Qwen3Moe", **_QWEN_MOE, norm_topk_prob=True, head_dim=16),
    "qwen3_moe, some layers": _case(
        "Qwen3Moe", **_QWEN_MOE, mlp_only_layers=[0, 3], attention_bias=True, head_dim=16
    ),
    "olmoe": _case("Olmoe", num_experts=6, num_experts_per_tok=3),
    "phi3": _case("Phi3", **_PHI3, rope_parameters=_longrope(4)),
    "phi3, window": _case("Phi3", **_PHI3, sliding_window=8, rope_parameters=_longrope(4)),
    "phi3, part of a head": _case(
        "Phi3",
        **{**_PHI3, "hidden_size": 64, "tie_word_embeddings": True},
        rope_parameters=_longrope(6, partial_rotary_factor=0.75),
    ),
    "phi3, no scaling": _case("Phi3", sliding_window=12),
    "phi3, part of a head, no scaling": _case(
        "Phi3", rope_parameters={"rope_theta": 90.0, "partial_rotary_factor": 0.5}
    ),
    "gemma": _case("Gemma", head_dim=16, num_key_value_heads=1),
    "gemma, as first released": _case("Gemma", head_dim=16, hidden_act="gelu"),
    "gemma2": _case(
        "Gemma2",
        head_dim=16,
        sliding_window=8,
        query_pre_attn_scalar=12,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
    ),
    "gemma2, no softcaps": _case(
        "Gemma2",
        head_dim=16,
        layer_types=[_GLOBAL, _GLOBAL, _LOCAL, _LOCAL, _LOCAL],
        sliding_window=8,
        attn_logit_softcapping=None,
        final_logit_softcapping=None,
    ),
    "smollm3": _case("SmolLM3", no_rope_layer_interval=2),
    "smollm3, listed, biases, windows": _case(
        "SmolLM3",
        no_rope_layers=[0, 1, 1, 0, 1],
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=False,
        **_QWEN,
    ),
    "smollm3, yarn": _case("SmolLM3", rope_parameters=_YARN),
    "qwen2, windows": _case("Qwen2", **_QWEN, max_window_layers=2),
    "qwen3, windows": _case("Qwen3", **_QWEN, layer_types=[_LOCAL, *[_GLOBAL] * 4], head_dim=16),
    "llama, yarn": _case("Llama", rope_parameters=_YARN),
    "llama, yarn, mscale": _case("Llama", rope_parameters={**_YARN, **_MSCALE}),
    "llama, yarn, attention factor": _case(
        "Llama", rope_parameters={**_YARN, "attention_factor": 1.5, "factor": 3.0}
    ),
    "llama, dynamic": _case(
        "Llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 50.0, "factor": 4.0}
    ),
    "llama, longrope, biases": _case(
        "Llama",
        rope_parameters=_longrope(4, factor=3.0, original_max_position_embeddings=32),
        attention_bias=True,
        mlp_bias=True,
    ),
    "gemma3_text, yarn": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {
            **_SIZES,
            "rope_parameters": {_GLOBAL: _YARN, _LOCAL: {"rope_theta": 30.0}},
            "sliding_window": 8,
            "head_dim": 16,
        },
    ),
}
# Their rates depend on the length of a text; ours on the model's.
LONGROPE = [name for name, (*_, options) in CASES.items() if "longrope" in str(options)]
# Files of another type that mean the same model: ours are written as the simplest one.
WRITTEN_AS = {"mistral, no window": "llama", "phi3, no scaling": "mistral"}
# Of the rotary positions: what is written as the number that follows from it.
_DERIVED = {"mscale", "mscale_all_dim", "attention_factor"}


def opened(name: str, folder: Path, **changes) -> tuple:
    """(theirs, ours) of a case, ours from the checkpoint that theirs was written to."""
    theirs = reference(*CASES[name])
    return theirs, modelzoo.build(saved(theirs, folder), compile=False, **changes)


def difference(theirs, ours, length: int = 48) -> float:
    """The largest difference of a logit, in two texts with padding on the left and the right."""
    x = ids(2, length)
    mask = np.ones_like(x)
    mask[0, :9] = 0
    mask[1, length - 4 :] = 0
    got = number(ours({"token_ids": x, "padding_mask": mask}))
    with torch.no_grad():
        wanted = theirs(long(x), attention_mask=long(mask)).logits.numpy()
    real = mask.astype(bool)
    assert np.abs(wanted[real]).max() > 0.1
    return float(np.abs(got - wanted)[real].max())


@pytest.mark.parametrize("name", CASES)
def test_a_decoder_has_their_logits_text_and_weights(name, tmp_path):
    theirs, ours = opened(name, tmp_path / "theirs")
    assert note(theirs, difference(theirs, ours)) < 1e-4

    prompts = ids(2, 36)
    text = theirs.generate(long(prompts), max_new_tokens=N - 36, do_sample=False)
    found = ours.generate_tokens(prompts.tolist(), max_new_tokens=N - 36)
    assert found == text[:, 36:].tolist()

    write_checkpoint(ours, tmp_path / "back")
    again, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "back", output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        wanted, found = (model(long(prompts)).logits for model in (theirs, again))
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    kind = theirs.config.model_type
    assert again.config.model_type == WRITTEN_AS.get(name, kind)
    if name not in WRITTEN_AS:
        bits = theirs.state_dict()
        assert all(torch.equal(tensor, bits[key]) for key, tensor in again.state_dict().items())
        assert_same_configuration(tmp_path / "back", again, theirs)


def assert_same_configuration(folder: Path, again, theirs) -> None:
    found, wanted = again.config.to_dict(), theirs.config.to_dict()
    for one in (found, wanted):
        rotary = one["rope_parameters"]
        one["rope_parameters"] = {k: v for k, v in rotary.items() if k not in _DERIVED}
    for key in json.loads((folder / "config.json").read_text()):
        if key not in OTHERWISE and key in wanted:
            assert found[key] == wanted[key], key


@pytest.mark.parametrize("name", LONGROPE)
def test_a_longrope_no_longer_than_the_original_turns_by_its_short_factors(name, tmp_path):
    theirs, ours = opened(name, tmp_path / "short", max_length=32)
    assert difference(theirs, ours, length=30) < 1e-4
    # A longer model turns by the long ones, in short texts too; theirs only in long texts.
    _, ours = opened(name, tmp_path / "long")
    assert difference(theirs, ours, length=30) > 1e-3


def test_a_dynamic_scaling_is_rejected_beyond_the_length_at_which_it_begins(tmp_path):
    with pytest.raises(RecipeError, match="dynamic rotary_scaling has other rates for each length"):
        opened("llama, dynamic", tmp_path / "theirs", max_length=N + 1)
