"""A carried decoder gives KerasHub's own numbers, and keeps a cache on a device."""

from __future__ import annotations

import modelzoo
import numpy as np
import pytest
from modelzoo.errors import WeightsError

from modelzoo_kerashub import carry, index
from modelzoo_kerashub.construct import construct
from modelzoo_kerashub.families import CARRIED
from modelzoo_kerashub.sizes import small_values

SANDWICH = {"use_post_ffw_norm": True, "use_post_attention_norm": True}
WINDOW = {"use_sliding_window_attention": True, "sliding_window_size": 4}
CASES = [
    *((name, {}) for name in CARRIED),
    ("GPT2Backbone", {"num_layers": 3, "num_heads": 4, "intermediate_dim": 48}),
    ("LlamaBackbone", {"tie_word_embeddings": True}),
    (
        "Llama3Backbone",
        {
            "rope_frequency_adjustment_factor": 32.0,
            "rope_low_freq_factor": 1.0,
            "rope_high_freq_factor": 4.0,
            "rope_pretraining_sequence_length": 16,
        },
    ),
    ("MistralBackbone", {"sliding_window": 4}),
    ("QwenBackbone", {"rope_scaling_factor": 4.0, "tie_word_embeddings": False}),
    ("Qwen3Backbone", {"head_dim": 16, "rope_max_wavelength": 1_000_000}),
    (
        "GemmaBackbone",
        {**SANDWICH, **WINDOW, "attention_logit_soft_cap": 5.0, "final_logit_soft_cap": 3.0},
    ),
    ("Gemma3Backbone", {**SANDWICH, **WINDOW, "num_layers": 7, "global_rope_scaling_factor": 8.0}),
]


def seeded(name: str, **changes):
    """A small backbone of KerasHub's, its weights far from where they start."""
    hub = construct(name, {**small_values(index.backbone(name)), **changes})
    rng = np.random.default_rng(0)
    for weight in hub.weights:
        weight.assign(rng.normal(1.0 if "gamma" in weight.path else 0.0, 0.3, weight.shape))
    return hub


def hub_logits(hub, inputs) -> np.ndarray:
    return np.asarray(hub.token_embedding(hub(inputs), reverse=True))


@pytest.mark.parametrize(("name", "changes"), CASES, ids=lambda case: str(case)[:24])
def test_a_carried_decoder_gives_the_same_logits(name, changes):
    hub = seeded(name, **changes)
    ours = carry(hub, max_length=64)
    rng = np.random.default_rng(1)
    mask = np.ones((2, 12), "int32")
    mask[1, 9:] = 0
    inputs = {"token_ids": rng.integers(0, 128, (2, 12)), "padding_mask": mask}
    right, found = hub_logits(hub, inputs), np.asarray(ours(inputs))
    assert np.abs(right).max() > 0.5
    assert np.abs(right - found)[mask.astype(bool)].max() < 1e-4


def test_one_changed_weight_shows_in_the_logits():
    hub = seeded("LlamaBackbone")
    ours = carry(hub, max_length=64)
    ids = np.arange(8)[None]
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids)}
    kernel = next(w for w in hub.weights if w.path.endswith("layer_1/self_attention/key/kernel"))
    kernel.assign(kernel + 0.1)
    assert np.abs(hub_logits(hub, inputs) - np.asarray(ours(inputs))).max() > 1e-2


def test_greedy_text_is_that_of_the_full_pass():
    hub = seeded("Qwen3Backbone")
    ours = carry(hub, max_length=64)
    prompt = [5, 9, 2]
    (found,) = ours.generate_tokens([prompt], max_new_tokens=12)
    right = list(prompt)
    for _ in range(12):
        ids = np.array([right])
        right.append(
            int(hub_logits(hub, {"token_ids": ids, "padding_mask": ids * 0 + 1})[0, -1].argmax())
        )
    assert list(found) == right[len(prompt) :]


def test_all_weights_have_a_place():
    hub = seeded("Gemma3Backbone", **SANDWICH)
    assert carry(hub, max_length=64).count_params() == hub.count_params()


def test_other_families_are_refused_with_those_that_can_be_carried():
    with pytest.raises(WeightsError, match="BertBackbone has no counterpart") as caught:
        carry(construct("BertBackbone", small_values(index.backbone("BertBackbone"))))
    assert "GPT2Backbone" in caught.value.next_step


@pytest.mark.parametrize(
    ("name", "changes", "what"),
    [
        ("GemmaBackbone", {"use_post_ffw_norm": True}, "after one sublayer"),
        ("GemmaBackbone", {"layer_norm_epsilon": 1e-5}, "keep 1e-6"),
        ("Gemma3Backbone", {"use_bidirectional_attention": True}, "reads both ways"),
        ("Gemma3Backbone", {**WINDOW, "local_rope_scaling_factor": 2.0}, "global layers only"),
        ("LlamaBackbone", {"rope_position_scaling_factor": 2.0}, "does not apply"),
    ],
)
def test_what_the_core_does_not_have_is_refused_by_name(name, changes, what):
    with pytest.raises(WeightsError, match=what):
        carry(construct(name, {**small_values(index.backbone(name)), **changes}))


def test_a_window_that_nothing_leaves_costs_no_local_layers():
    model = carry(seeded("Qwen3Backbone"), max_length=64)
    assert model.recipe.values["model"]["attention_pattern"] == ["global"]
    model = carry(seeded("Qwen3Backbone", sliding_window_size=8), max_length=64)
    assert model.recipe.values["model"]["attention_pattern"] == ["local"]


def test_a_preset_becomes_a_decoder_of_the_core(gpt2_preset):
    import keras_hub

    model = modelzoo.build("kerashub/decoder", preset=str(gpt2_preset))
    hub = keras_hub.models.Backbone.from_preset(str(gpt2_preset))
    inputs = {"token_ids": np.arange(9)[None], "padding_mask": np.ones((1, 9), "int32")}
    assert np.abs(hub_logits(hub, inputs) - np.asarray(model(inputs))).max() < 1e-4


def test_a_checkpoint_in_hugging_face_layout_comes_through_kerashub_and_back(tmp_path):
    import keras
    from modelzoo.weights import write_checkpoint

    keras.utils.set_random_seed(0)
    sizes = {"num_layers": 2, "hidden_dim": 32, "num_heads": 4, "num_kv_heads": 2, "ffn_dim": 64}
    # KerasHub leaves out rms_norm_eps of such a checkpoint, and keeps its own default.
    sizes |= {"vocab_size": 128, "head_dim": 8, "norm_epsilon": 1e-6}
    ours = modelzoo.build("smollm2-135m", **sizes)
    write_checkpoint(ours, tmp_path / "smollm2")
    model = modelzoo.build("kerashub/decoder", preset=str(tmp_path / "smollm2"))
    inputs = {"token_ids": np.arange(9)[None], "padding_mask": np.ones((1, 9), "int32")}
    assert np.abs(np.asarray(ours(inputs)) - np.asarray(model(inputs))).max() < 1e-5


@pytest.mark.slow
def test_a_carried_decoder_exports_prefill_and_decode(tmp_path, gpt2_preset):
    model = modelzoo.build("kerashub/decoder", preset=str(gpt2_preset))
    report = modelzoo.export(model, tmp_path / "bundle", quantize="float32", max_length=32)
    assert "decode" in report.manifest["signatures"]
    assert report.parity["generation"]["decode"]["max_abs_error"] < 1e-4
