"""Every table maps a whole model, in both directions."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import modelzoo
from modelzoo.errors import OutputError, WeightsError
from modelzoo.weights import open_checkpoint, read_weights, write_checkpoint
from modelzoo.weights.mapping import model_values
from modelzoo.weights.position_grids import resample
from modelzoo.weights.table import Rule
from modelzoo.weights.tables import TABLES
from modelzoo.weights.tables.shared.rotary import (
    read_layers,
    read_rotary,
    write_layers,
    write_rotary,
)
from tests.core import randomise
from tests.small import files_of_at_most, listing

_SMALL = {"vocab_size": 23, "num_layers": 2, "hidden_dim": 16, "num_heads": 2, "max_length": 32}
_LLAMA = {"vocab_size": 23, "hidden_dim": 16, "num_heads": 2, "num_kv_heads": 1, "max_length": 32}
_LLAMA = {**_LLAMA, "ffn_dim": 24, "num_layers": 2}
_LONGROPE = {"type": "longrope", "factor": 2.0, "original_max_length": 16}
_LONGROPE |= {
    "short_factor": [1.0, 1.5, 2.0],
    "long_factor": [2.0, 4.0, 8.0],
    "attention_factor": 1.3,
}
_WINDOW = {**_LLAMA, "head_dim": 8, "attention_pattern": ["local"], "sliding_window": 4}
_SWITCH = {"top_k": 1, "normalize": False, "pattern": [False, True], "z_loss": 0.002}
_VIT = {"image_size": 12, "patch_size": 4, "num_layers": 2, "hidden_dim": 16, "num_heads": 2}
_VIT = {**_VIT, "ffn_dim": 24, "norm_epsilon": 1e-12}
_SMALL_TOWERS = {f"image.model.{key}": value for key, value in _VIT.items()}
_SMALL_TOWERS |= {f"text.model.{key}": value for key, value in _SMALL.items()}
_SMALL_TOWERS |= {"image.model.norm_epsilon": 1e-5, "embed_dim": 16}
_AST = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "ffn_dim": 24, "num_columns": 40}
_AST = {**_AST, "num_mels": 32, "mean": -3.5, "task_options.num_labels": 3}
_WHISPER = {**_SMALL, "ffn_dim": 24, "num_decoder_layers": 1, "num_columns": 20}
_WHISPER["task_options.language"] = "en"
_BERT = {**_SMALL, "ffn_dim": 24}
_ALBERT = {**_BERT, "embedding_dim": 8, "share_layers": True}
_ELECTRA = {**_BERT, "embedding_dim": 8, "pooler": False, "task_options.next_sentence": False}
_PRE = {**_BERT, "norm_position": "pre", "embedding_norm": False, "scale_embedding": True}
_SINES = {"positions": "sine_halves", "position_offset": 0}
_MARIAN = {**_BERT, **_SINES, "embedding_norm": False, "logit_bias": True, "activation": "silu"}
_MOONSHINE = {**_SMALL, "ffn_dim": 24, "num_decoder_layers": 1}
_PARALLEL = {"parallel_residual": True, "shared_norm": True}
_NEOX = {**_SMALL, "ffn_dim": 24, "positions": "rotary", "rotary_fraction": 0.5}
_NEOX["tie_embeddings"] = False
_GRANITE = {"attention_scale": 0.2, "embedding_scale": 12.0, "residual_scale": 0.22}
_GRANITE["logit_scale"] = 1 / 13
_COHERE = {**_LLAMA, **_PARALLEL, "norm": "layer", "norm_bias": False, "logit_scale": 0.0625}
_COHERE |= {"qk_norm": True, "qk_norm_heads": "separate"}
_WAVE = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "ffn_dim": 24, "conv_dims": [6, 8]}
_WAVE |= {"conv_kernels": [10, 3], "conv_strides": [5, 2], "position_kernel": 6}
_WAVE |= {"position_groups": 4, "weighted_layers": True, "task_options.num_labels": 3}
_WAVE |= {"task_options.projection_dim": 5}


def _experts(**experts) -> dict:
    return {**_LLAMA, "head_dim": 8, "experts": {"count": 4, "balance_loss": 0.02, **experts}}


# A small model of each table: the recipe that it is cut from, and what is changed.
MODELS = {
    "albert": ("bert-base", _ALBERT),
    "audio-spectrogram-transformer": ("ast", _AST),
    "bart": ("bart-base", {**_SMALL, "ffn_dim": 24}),
    "beit": (
        "vit-ti16",
        {
            **_VIT,
            **{"positions": "none", "relative_positions": "each", "layer_scale": 0.1},
            **{"attention_key_bias": False, "pooling": "mean", "norm": "pooled"},
            "task_options.num_labels": 3,
        },
    ),
    "bert": ("bert-base", {**_SMALL, "ffn_dim": 24}),
    "blenderbot": ("bart-base", {**_PRE, "position_offset": 0}),
    "camembert": ("roberta-base", _BERT),
    "clip": ("clip-vit-b32", {**_SMALL_TOWERS, "embed_dim": 12}),
    "deit": (
        "vit-ti16",
        {
            **_VIT,
            **{"distillation_token": True, "pooling": "cls_distillation"},
            **{"resize_to": 16, "task_options.num_labels": 3, "task_options.distilled": True},
        },
    ),
    "dinov2": (
        "vit-ti16",
        {
            **{**_VIT, "ffn_dim": 48, "norm_epsilon": 1e-6, "activation": "silu", "gated": True},
            **{"layer_scale": 1.0, "pooling": "cls_mean"},
            **{"resize": "crop", "resize_to": 14, "task_options.num_labels": 3},
        },
    ),
    "distilbert": ("distilbert", {**_SMALL, "ffn_dim": 24}),
    "electra": ("bert-base", _ELECTRA),
    "gemma3_text": ("gemma3-270m", {**_LLAMA, "num_layers": 7, "head_dim": 8}),
    "cohere": ("smollm2-135m", _COHERE),
    "gemma": ("gemma-2b", {**_LLAMA, "num_kv_heads": 1, "head_dim": 8}),
    "gemma2": (
        "gemma2-2b",
        {**_LLAMA, "head_dim": 8, "attention_scale": 0.25, "sliding_window": 4},
    ),
    "gpt2": ("gpt-small", {**_SMALL, "ffn_dim": 24}),
    "gpt_bigcode": ("gpt-small", {**_SMALL, "ffn_dim": 24, "num_kv_heads": 1}),
    "gpt_neox": ("gpt-small", {**_NEOX, "parallel_residual": True}),
    "gptj": (
        "gpt-small",
        {**_NEOX, **_PARALLEL, "attention_bias": False, "head_bias": True, "rotary_fraction": 0.25},
    ),
    "granite": ("smollm2-135m", {**_LLAMA, **_GRANITE}),
    "hubert": ("wav2vec2-base", _WAVE),
    "llama": ("smollm2-135m", {**_LLAMA, "head_dim": 8}),
    "ministral": ("mistral-7b", {**_WINDOW, "attention_pattern": ["global", "local"]}),
    "mistral": ("mistral-7b", {**_WINDOW, "norm_epsilon": 1e-6}),
    "m2m_100": ("bart-base", {**_PRE, "positions": "sine_tensor2tensor"}),
    "marian": ("bart-base", _MARIAN),
    "mixtral": ("smollm2-135m", _experts(top_k=2, jitter=0.1)),
    "mbart": ("bart-base", {**_PRE, "embedding_norm": True}),
    "modernbert": ("ettin-17m", {**_SMALL, "ffn_dim": 24, "num_layers": 4}),
    "mpnet": ("roberta-base", {**_BERT, "num_segments": 0, "relative_buckets": 32}),
    "mt5": ("t5-v1.1-small", {**_BERT, "head_dim": 8}),
    "openai-gpt": ("gpt-1", _SMALL),
    "olmo": (
        "smollm2-135m",
        {**_LLAMA, "norm": "layer", "norm_bias": False, "norm_scale": False},
    ),
    "olmo2": (
        "smollm2-135m",
        {**_LLAMA, "norm_position": "output", "qk_norm": True, "qk_norm_heads": "joint"},
    ),
    "olmoe": (
        "smollm2-135m",
        {**_experts(normalize=False), "head_dim": 8, "qk_norm": True, "qk_norm_heads": "joint"},
    ),
    "opt": (
        "gpt-small",
        {
            **_SMALL,
            "ffn_dim": 24,
            "activation": "relu",
            "position_offset": 2,
            "norm_position": "post",
            "embedding_dim": 12,
        },
    ),
    "phi": (
        "gpt-small",
        {**_NEOX, **_PARALLEL, "qk_norm": True, "head_bias": True, "num_kv_heads": 1},
    ),
    "phi3": (
        "phi3-mini",
        {**_LLAMA, "head_dim": 8, "rotary_fraction": 0.75, "rotary_scaling": _LONGROPE},
    ),
    "pegasus": ("bart-base", {**_PRE, **_SINES}),
    "qwen2": (
        "smollm2-135m",
        {**_LLAMA, "attention_bias": True, "attention_output_bias": False, "norm_epsilon": 1e-6},
    ),
    "qwen2_moe": (
        "smollm2-135m",
        {
            **_experts(ffn_dim=20, shared_dim=12, shared_gate=True, pattern=[False, True]),
            "attention_bias": True,
            "attention_output_bias": False,
        },
    ),
    "qwen3_moe": (
        "qwen3-0.6b",
        {**_experts(ffn_dim=20, pattern=[True, False, True]), "num_layers": 3},
    ),
    "qwen3": ("qwen3-0.6b", {**_LLAMA, "head_dim": 8}),
    "roberta": ("roberta-base", {**_SMALL, "ffn_dim": 24}),
    "siglip": ("siglip-b16-224", _SMALL_TOWERS),
    "smollm3": ("smollm3-3b", {**_LLAMA, "num_layers": 5, "rotary_pattern": [True, False]}),
    "smolvlm": (
        "smolvlm-256m",
        {
            **{f"decoder.model.{key}": value for key, value in {**_LLAMA, "head_dim": 8}.items()},
            **{f"image.model.{key}": value for key, value in _VIT.items()},
            "image.model.image_size": 16,
            "image_token": 5,
        },
    ),
    "stablelm": (
        "smollm2-135m",
        {
            **_LLAMA,
            "norm": "layer",
            "attention_bias": True,
            "attention_output_bias": False,
            "qk_norm": True,
            "qk_norm_heads": "separate",
            "qk_norm_bias": False,
            "rotary_fraction": 0.5,
        },
    ),
    "starcoder2": (
        "gpt-small",
        {
            **_NEOX,
            "rotary_fraction": 1.0,
            "num_kv_heads": 1,
            "attention_pattern": ("local",),
            "sliding_window": 8,
        },
    ),
    "switch_transformers": (
        "t5-base",
        {**_SMALL, "ffn_dim": 24, "head_dim": 8, "experts": {**_SWITCH, "count": 3}},
    ),
    "t5": ("t5-v1.1-small", {**_SMALL, "ffn_dim": 24, "head_dim": 8}),
    "moonshine": ("moonshine-tiny", _MOONSHINE),
    "wav2vec2": (
        "wav2vec2-base",
        {**_WAVE, "conv_bias": True, "feature_norm": "layer", "norm_position": "pre"},
    ),
    "whisper": ("whisper-tiny", _WHISPER),
    "umt5": ("t5-v1.1-small", {**_BERT, "head_dim": 8, "relative_each": True}),
    "vit": ("vit-ti16", _VIT | {"task_options.num_labels": 3}),
    "xlm-roberta": ("roberta-base", _BERT),
}


def made(kind: str, **more):
    name, changes = MODELS[kind]
    return randomise(modelzoo.build(name, compile=False, **{**changes, **more}))


def test_every_table_is_tested():
    assert set(MODELS) == set(TABLES)


@pytest.mark.parametrize("kind", TABLES)
def test_what_is_written_reads_back_bit_by_bit(kind, tmp_path):
    model = made(kind)
    write_checkpoint(model, tmp_path / "out")
    checkpoint = open_checkpoint(tmp_path / "out")
    assert checkpoint.config["model_type"] == (TABLES[kind].written_as or kind)
    again = modelzoo.build(tmp_path / "out", compile=False)
    assert again.recipe.task == model.recipe.task
    for one, other in zip(model.weights, again.weights, strict=True):
        if "seed" not in one.path:
            np.testing.assert_array_equal(one, other, err_msg=one.path)
    # The recipe came through the file too, all of it that shapes the model.
    ours, theirs = model_values(model.recipe), model_values(again.recipe)
    free = {"initializer_range", "dropout", "attention_dropout"}
    ours, theirs = (
        {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if k not in free}
        for values in (ours, theirs)
    )
    assert ours == theirs


@pytest.mark.parametrize("kind", TABLES)
def test_a_recipe_takes_the_weights_that_belong_to_it_and_no_others(kind, tmp_path):
    write_checkpoint(made(kind), tmp_path / "out")
    name, changes = MODELS[kind]
    modelzoo.build(name, weights=tmp_path / "out", compile=False, **changes)
    heads = "image.model.num_heads" if kind in ("clip", "siglip", "smolvlm") else "num_heads"
    with pytest.raises(WeightsError, match=f"{heads} is 4 here and 2 there"):
        modelzoo.build(name, weights=tmp_path / "out", compile=False, **{**changes, heads: 4})


def test_a_twin_reads_its_own_names(tmp_path):
    model = made("hubert")
    folder = write_checkpoint(model, tmp_path / "out")
    tensors = load_file(folder / "model.safetensors")
    # The length of each tap under the names that PyTorch has had for it.
    old = {"parametrizations.weight.original0": "weight_g"}
    old |= {"parametrizations.weight.original1": "weight_v", "wav2vec2.": "hubert."}
    for new, name in old.items():
        tensors = {key.replace(new, name): value for key, value in tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "hubert", "architectures": ["HubertForSequenceClassification"]}
    (folder / "config.json").write_text(json.dumps(config))
    again = modelzoo.build(folder, compile=False)
    assert again.recipe.values["summary"].endswith("a hubert checkpoint")
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=one.path)


def test_positions_of_another_image_size_are_interpolated(tmp_path):
    write_checkpoint(made("vit"), tmp_path / "out")
    small = modelzoo.build(tmp_path / "out", compile=False)
    large = modelzoo.build(tmp_path / "out", compile=False, image_size=(24, 36))
    old, new = (np.asarray(m.backbone.positions.embeddings) for m in (small, large))
    assert old.shape == (10, 16) and new.shape == (1 + 6 * 9, 16)
    np.testing.assert_array_equal(new[0], old[0])  # the class token has no place
    np.testing.assert_array_equal(new[1:], resample(old[1:], (3, 3), (6, 9)))
    same = np.asarray(
        modelzoo.build(tmp_path / "out", compile=False, image_size=(12, 12)).weights[2]
    )
    np.testing.assert_array_equal(same, np.asarray(small.weights[2]))


def test_a_patch_size_cannot_be_interpolated(tmp_path):
    write_checkpoint(made("vit"), tmp_path / "out")
    with pytest.raises(WeightsError, match="patch_size is 6 here and 4 there"):
        modelzoo.build(
            "vit-ti16", weights=tmp_path / "out", compile=False, **{**_VIT, "patch_size": 6}
        )


def test_a_rule_of_a_layer_names_the_layer_on_both_sides():
    rule = Rule("h.{i}.w", ("block_{i}/a", "block_{i}/b")).at(12)
    assert (rule.theirs, rule.ours) == ("h.12.w", ("block_12/a", "block_12/b"))


def test_rotary_positions_read_as_each_version_wrote_them():
    old = {"rope_theta": 5.0, "rope_scaling": {"type": "linear", "factor": 2.0}}
    new = {"rope_parameters": {"rope_theta": 5.0, "rope_type": "linear", "factor": 2.0}}
    wanted = {"rotary_theta": 5.0, "rotary_scaling": {"type": "linear", "factor": 2.0}}
    assert read_rotary(old, 1.0) == read_rotary(new, 1.0) == wanted
    assert read_rotary(write_rotary(wanted), 1.0) == wanted
    assert read_rotary({}, 7.0) == {"rotary_theta": 7.0, "rotary_scaling": None}


@pytest.mark.parametrize(
    ("theirs", "wanted"),
    [
        (
            {"rope_type": "dynamic", "factor": 2.0},
            {"factor": 2.0, "original_max_length": 64},
        ),
        (
            {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 0},
            {"factor": 4.0, "original_max_length": 16},
        ),
        (
            {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 32}
            | {"mscale": 1.0, "mscale_all_dim": 1.0, "truncate": False, "beta_slow": 2.0},
            {"factor": 2.0, "original_max_length": 32, "attention_factor": 1.0}
            | {"truncate": False, "beta_slow": 2.0},
        ),
        (
            {"type": "su", "short_factor": [1.0], "long_factor": [2.0]}
            | {"original_max_position_embeddings": 16},
            {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}
            | {"factor": 4.0, "original_max_length": 16},
        ),
    ],
)
def test_a_scaling_is_read_with_what_a_file_leaves_to_be_worked_out(theirs, wanted):
    config = {"max_position_embeddings": 64, "rope_scaling": theirs}
    found = read_rotary(config, 1.0)
    assert found["rotary_scaling"] == {
        "type": theirs.get("rope_type", theirs.get("type")),
        **wanted,
    }
    written = write_rotary({**found, "max_length": 64})
    assert read_rotary({**config, "rope_scaling": None, **written}, 1.0) == found


def test_a_length_outside_the_rotary_parameters_wins():
    scaling = {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16}
    config = {"max_position_embeddings": 64, "rope_scaling": scaling}
    outside = {**config, "original_max_position_embeddings": 8}
    assert read_rotary(outside, 1.0)["rotary_scaling"]["original_max_length"] == 8
    assert read_rotary(config, 1.0, original=4)["rotary_scaling"]["original_max_length"] == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention_pattern": ["local"], "sliding_window": 4, "gated": False}, "gated = True"),
        ({"logit_softcap": 3.0}, "has logit_softcap = None, and this model 3.0"),
        ({"attention_scale": 1.0, "qk_norm": True}, "this model has attention_scale = 1.0"),
        ({"rotary_fraction": 0.5, "ffn_bias": True}, "rotary positions on a part of a head"),
        (
            {"attention_pattern": ["local"], "sliding_window": 4, "rotary_local_theta": 5.0},
            "other rotary positions in its local layers",
        ),
        (
            {"attention_pattern": ["local", "global"], "sliding_window": 4}
            | {"ffn_bias": True, "attention_bias": True},
            "this model has local layers",
        ),
    ],
)
def test_what_no_type_of_model_can_say_is_not_left_out_of_a_file(changes, message, tmp_path):
    with pytest.raises(WeightsError, match=message):
        write_checkpoint(made("llama", **changes), tmp_path / "out")


def test_layers_that_differ_in_their_window_are_not_read_as_alike(tmp_path):
    write_checkpoint(made("mistral"), tmp_path / "out")
    name, changes = MODELS["mistral"]
    changes = {**changes, "attention_pattern": ["global"]}
    with pytest.raises(WeightsError, match="attention_pattern is"):
        modelzoo.build(name, weights=tmp_path / "out", compile=False, **changes)


def test_layer_kinds_read_as_each_version_wrote_them():
    values = {
        "rotary_theta": 9.0,
        "rotary_local_theta": 4.0,
        "attention_pattern": ["local", "local", "global"],
    }
    written = write_layers({**values, "num_layers": 7})
    assert read_layers(written, 1.0, 1.0, ["global"]) == values
    old = {"rope_theta": 9.0, "rope_local_base_freq": 4.0}
    assert read_layers(old, 1.0, 1.0, ["local", "local", "global"]) == values


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        ({"rope_type": "proportional", "factor": 2.0}, "'proportional' are not supported"),
        ({"rope_type": "yarn", "factor": 2.0}, "'yarn' need original_max_position_embeddings"),
        ({"rope_type": "longrope", "short_factor": [1.0]}, "'longrope' need factor"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "a part of a head"),
    ],
)
def test_rotary_positions_of_another_kind_are_refused(scaling, message):
    with pytest.raises(WeightsError, match=message):
        read_rotary({"rope_parameters": {"rope_theta": 1.0, **scaling}}, 1.0)


def test_a_model_without_counterpart_is_refused_with_the_reasons(tmp_path):
    model = made("gpt2", positions="relative")
    with pytest.raises(WeightsError, match="no counterpart of gpt-small") as caught:
        write_checkpoint(model, tmp_path / "out")
    assert "positions = 'learned'" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_a_table_cannot_say_is_named_and_not_written_as_something_else(tmp_path):
    model = made("gpt2", parallel_residual=True, logit_scale=0.5)
    with pytest.raises(WeightsError) as caught:
        write_checkpoint(model, tmp_path / "out")
    assert "a gpt2 has parallel_residual = False, and this model True" in caught.value.what
    assert "a gpt2 has logit_scale = 1.0, and this model 0.5" in caught.value.what


def test_a_recipe_with_what_the_checkpoints_type_has_not_is_refused(tmp_path):
    write_checkpoint(made("gpt2"), tmp_path / "out")
    name, changes = MODELS["gpt2"]
    with pytest.raises(WeightsError, match="parallel_residual is True here and False there"):
        modelzoo.build(
            name, weights=tmp_path / "out", compile=False, **changes, parallel_residual=True
        )


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("moonshine", {"num_samples": 8000}), ("vit", {"resize_to": 20, "resize": "crop"})],
)
def test_how_much_of_an_input_is_read_may_be_chosen(kind, changes, tmp_path):
    write_checkpoint(made(kind), tmp_path / "out")
    model = modelzoo.build(tmp_path / "out", compile=False, **changes)
    assert model_values(model.recipe)[next(iter(changes))] == next(iter(changes.values()))


@pytest.mark.parametrize("sizes", [(256, 64), (88, 60), (80, 24), (44, 30), (64, 64)])
def test_the_part_of_a_gptj_head_that_turns_is_the_number_in_its_file(sizes):
    width, turning = sizes
    config = {"vocab_size": 9, "n_embd": 2 * width, "n_layer": 1, "n_head": 2, "n_positions": 8}
    read = TABLES["gptj"].read_config({**config, "rotary_dim": turning}, frozenset(), "x")
    assert int(width * read["rotary_fraction"]) == turning


def test_values_that_share_a_key_of_theirs_must_be_the_same(tmp_path):
    with pytest.raises(WeightsError, match="one value for attention_bias and ffn_bias"):
        write_checkpoint(made("opt", ffn_bias=False), tmp_path / "out")
    with pytest.raises(WeightsError, match="another head_dim"):
        write_checkpoint(made("gpt_neox", head_dim=6), tmp_path / "out")


def test_a_head_that_the_checkpoint_lacks_starts_at_random_and_is_named(tmp_path):
    write_checkpoint(made("bert"), tmp_path / "out")
    name, changes = MODELS["bert"]
    with pytest.warns(UserWarning, match="no weights for classifier/kernel, classifier/bias"):
        model = modelzoo.build(
            name, weights=tmp_path / "out", compile=False, task="text-classification", **changes,
        )  # fmt: skip
    loaded = read_weights(model, open_checkpoint(tmp_path / "out"))
    assert set(loaded.fresh) == {"classifier/kernel", "classifier/bias"}
    assert any("cls.predictions" in name for name in loaded.left_out)


def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path):
    with files_of_at_most(10_000), pytest.raises(OutputError, match="cannot write .*out: "):
        write_checkpoint(made("gpt2"), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_names_its_files_and_is_ours_to_replace(tmp_path):
    path = write_checkpoint(made("gpt2"), tmp_path / "out")
    mark = json.loads((path / "modelzoo.json").read_text())
    assert (
        {"config.json", "model.safetensors"}
        <= set(mark["files"])
        == set(listing(path)) - {"modelzoo.json"}
    )
    write_checkpoint(made("gpt2"), path, force=True)
    (path / "model-2.safetensors").write_text("precious")
    with pytest.raises(OutputError, match=r"holds model-2\.safetensors"):
        write_checkpoint(made("gpt2"), path, force=True)
    assert (path / "model-2.safetensors").read_text() == "precious"
