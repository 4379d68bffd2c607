"""No key of a checkpoint's files is passed over: it is read, known to be idle, or named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import modelzoo
from modelzoo.errors import WeightsError
from modelzoo.weights import open_checkpoint, write_checkpoint
from modelzoo.weights.small_files import SENTENCE, SMALL
from modelzoo.weights.tables import TABLES
from modelzoo.weights.tables.shared.image_processing import HALF, reader
from modelzoo.weights.unknown_type import APART
from tests.core import number, randomise

LLAMA = {
    "vocab_size": 23,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}


@pytest.mark.parametrize(("kind", "near"), [("siglip2", "siglip"), ("wavlm", "wav2vec2")])
def test_a_type_without_a_table_names_the_nearest_and_what_they_differ_in(kind, near, tmp_path):
    save_file({"a": np.zeros(1, "float32")}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(WeightsError, match=APART[kind][1].partition("(")[0]) as caught:
        modelzoo.build(tmp_path)
    assert caught.value.did_you_mean == near and near in TABLES
    assert not APART.keys() & TABLES.keys()


def read(kind: str = "llama", **changes) -> dict:
    return TABLES[kind].read_config({**LLAMA, **changes}, frozenset(), "somewhere")


@pytest.mark.parametrize(
    ("key", "value", "neutral"),
    [
        ("sliding_window", 4096, None),  # mistral
        ("embedding_multiplier", 12.0, 1.0),  # granite
        ("residual_multiplier", 0.22, 1.0),
        ("logits_scaling", 8.0, 1.0),
        ("attention_multiplier", 0.0078, None),
        ("partial_rotary_factor", 0.25, 1.0),  # stablelm, phi
        ("no_rope_layers", [1, 0], []),  # smollm3
        ("use_qk_norm", True, False),  # cohere
        ("num_local_experts", 8, None),  # mixtral
        ("quantization_config", {"quant_method": "gptq"}, None),
        ("is_causal", False, True),
        ("of_a_newer_release", 0.5, None),
    ],
)
def test_a_key_that_nothing_reads_is_named_unless_it_is_neutral(key, value, neutral):
    with pytest.raises(WeightsError, match=rf"a llama with {key} = "):
        read(**{key: value})
    assert read(**{key: neutral}) == read()


def test_all_keys_that_would_be_passed_over_are_named_at_once():
    with pytest.raises(WeightsError, match=r"logits_scaling = 8\.0, more = 3 is not supported"):
        read(logits_scaling=8.0, more=3)


def test_what_says_how_a_file_was_made_or_a_model_is_trained_means_nothing():
    idle = {"torch_dtype": "bfloat16", "use_cache": True, "_name_or_path": "x", "unsloth_fixed": 1}
    idle |= {"initializer_range": 0.1, "hidden_dropout": 0.3, "bos_token_id": 1, "num_beams": 4}
    assert read(**idle) == read()


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("hidden_size", 0, "a whole number, 1 or more"),
        ("hidden_size", "64", "a whole number, 1 or more"),
        ("num_hidden_layers", True, "a whole number, 1 or more"),
        ("num_hidden_layers", None, "a whole number, 1 or more"),
        ("rms_norm_eps", -1e-6, "a number above 0"),
        ("attention_dropout", 2, "a number from 0 to 1"),
        ("tie_word_embeddings", "yes", "true or false"),
        ("num_key_value_heads", 0, "a whole number, 1 or more, or null"),
        ("head_dim", 8.5, "a whole number, 1 or more, or null"),
        ("rope_theta", "10000", "a number above 0, or null"),
        ("rope_scaling", [1], "a table, or null"),
        ("hidden_act", ["silu"], "is not supported"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_one_clear_message(key, value, wanted):
    with pytest.raises(WeightsError, match=wanted) as caught:
        read(**{key: value})
    assert str(caught.value).startswith(key) and "config.json" in str(caught.value)


def test_keys_within_tables_are_read_as_those_outside():
    with pytest.raises(WeightsError, match=r"rope_parameters\.mrope_section = \[2, 2\]"):
        read(rope_parameters={"rope_theta": 5.0, "mrope_section": [2, 2]})
    with pytest.raises(WeightsError, match=r"rope_scaling\.factor must be a number above 0"):
        read(rope_scaling={"rope_type": "linear", "factor": "8"})
    with pytest.raises(WeightsError, match="'linear' need factor"):
        read(rope_scaling={"rope_type": "linear"})
    clip = {"vision_config": {"patch_size": 4, "use_mean_pooling": True}, "text_config": {}}
    with pytest.raises(WeightsError, match=r"vision_config\.use_mean_pooling = True"):
        TABLES["clip"].read_config(clip, frozenset(), "somewhere")


def test_llama_3_scales_from_the_longest_text_where_no_original_length_is_stated():
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}
    scaling["high_freq_factor"] = 4.0
    assert read(rope_scaling=scaling)["rotary_scaling"]["original_max_length"] == 32
    stated = {**scaling, "original_max_position_embeddings": 8}
    assert read(rope_scaling=stated)["rotary_scaling"]["original_max_length"] == 8


@pytest.mark.parametrize(
    ("kind", "changes", "wanted"),
    [
        ("mistral", {}, {"attention_pattern": ["local"], "sliding_window": 4096}),
        ("mistral", {"sliding_window": 8}, {"attention_pattern": ["local"], "sliding_window": 8}),
        ("mistral", {"sliding_window": None}, {"attention_pattern": ["global"]}),
        ("ministral", {}, {"attention_pattern": ["local"], "sliding_window": 4096}),
        ("ministral", {"sliding_window": None}, {"attention_pattern": ["global"]}),
        ("phi3", {"rms_norm_eps": ...}, {"norm_epsilon": 1e-5, "attention_pattern": ["global"]}),
        ("phi3", {"partial_rotary_factor": 0.75}, {"rotary_fraction": 0.75}),
        ("phi3", {"original_max_position_embeddings": 8}, {"rotary_scaling": None}),
        ("gemma2", {}, {"attention_softcap": 50.0, "logit_softcap": 30.0, "head_dim": 256}),
        ("gemma2", {}, {"attention_pattern": ["local", "global"], "sliding_window": 4096}),
        ("gemma2", {"attn_logit_softcapping": None}, {"attention_softcap": None}),
        ("smollm3", {}, {"rotary_pattern": [True, True, True, False], "rotary_theta": 2e6}),
        ("smollm3", {"no_rope_layers": [1, 0, 1, 0, 0]}, {"rotary_pattern": [True, False]}),
        ("qwen2", {"sliding_window": 8}, {"attention_pattern": ["global"], "sliding_window": None}),
        (
            "qwen2",
            {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
            {"attention_pattern": ["global", "local", "local", "local"], "sliding_window": 8},
        ),
        ("qwen3", {"use_sliding_window": True}, {"attention_pattern": ["global"]}),
    ],
)
def test_the_defaults_and_the_keys_of_a_decoder(kind, changes, wanted):
    config = {**LLAMA, "num_hidden_layers": 4, "num_key_value_heads": 1, **changes}
    config = {key: value for key, value in config.items() if value is not ...}
    found = TABLES[kind].read_config(config, frozenset(), "somewhere")
    assert {key: found[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("mistral", {"layer_types": ["full_attention"]}, "a mistral with layer_types = "),
        ("ministral", {"layer_types": ["chunked_attention"]}, "'chunked_attention' are not"),
        ("ministral", {"sliding_window": None, "layer_types": ["sliding_attention"]}, "in use"),
        ("qwen2", {"layer_types": ["sliding_attention"], "sliding_window": 8}, "in use"),
        ("phi3", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "only 'longrope'"),
        ("phi3", {"interpolate_factor": 2}, "interpolate_factor = 2"),
        ("phi3", {"rope_scaling": {"type": "su", "short_factor": [0.0]}}, "list of numbers above"),
        ("gemma2", {"use_bidirectional_attention": True}, "looks both ways"),
        ("gemma2", {"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
        ("smollm3", {"no_rope_layers": []}, "no_rope_layers names 0 of 1 layers"),
        ("smollm3", {"no_rope_layers": [2]}, "a list of 0 and 1"),
        ("llama", {"rope_scaling": {"type": "yarn", "factor": 2.0, "mscale": "x"}}, "mscale must"),
    ],
)
def test_a_key_of_a_decoder_that_cannot_be_followed_is_named(kind, changes, message):
    with pytest.raises(WeightsError, match=message):
        read(kind, **changes)


def test_a_length_has_several_names():
    sizes = {"vocab_size": 23, "n_embd": 16, "n_layer": 1, "n_head": 2}
    for name in ("n_positions", "n_ctx", "max_position_embeddings"):
        found = TABLES["gpt2"].read_config({**sizes, name: 32}, frozenset(), "somewhere")
        assert found["max_length"] == 32
    both = {**sizes, "n_positions": 32, "n_ctx": 16}  # the first one counts
    assert TABLES["gpt2"].read_config(both, frozenset(), "x")["max_length"] == 32


# === Images and sounds ===


def test_what_a_processor_does_before_the_middle_is_cut_out():
    cut = {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}}
    square = {**cut, "size": {"height": 40, "width": 40}}
    for kind, config, wanted in (
        ("deit", square, ("squash", 40)),
        ("deit", {**cut, "size": 40}, ("squash", 40)),  # a number means a square to this class
        ("deit", {**cut, "size": {"shortest_edge": 40}}, ("crop", 40)),
        ("clip", {**cut, "size": 40}, ("crop", 40)),  # and the shorter side to this one
        ("dinov2", {**cut, "size": {"shortest_edge": 32}}, ("crop", None)),
    ):
        found = TABLES[kind].read_media(config)
        prefix = "image.model." if kind == "clip" else ""
        assert (found[f"{prefix}resize"], found[f"{prefix}resize_to"]) == wanted
    with pytest.raises(WeightsError, match="do_center_crop with size"):
        TABLES["deit"].read_media({**cut, "size": {"height": 40, "width": 50}})


def test_a_dinov2_is_as_large_as_the_pictures_that_its_processor_makes():
    read_media = TABLES["dinov2"].read_media
    assert "image_size" not in read_media({})
    assert read_media({"size": {"height": 28, "width": 42}})["image_size"] == [28, 42]
    assert read_media({"do_center_crop": True, "size": 40, "crop_size": 28})["image_size"] == 28
    with pytest.raises(WeightsError, match="size without do_center_crop"):
        read_media({"size": {"shortest_edge": 28}})
    with pytest.raises(WeightsError, match="size must be a whole number"):
        read_media({"size": "large"})


def test_a_sound_is_normalised_as_its_processor_says():
    read_media = TABLES["wav2vec2"].read_media
    assert read_media({"do_normalize": False, "sampling_rate": 8000, "feature_size": 1}) == {
        "normalize": False,
        "sample_rate": 8000,
    }
    for wrong in ({"do_normalize": "no"}, {"padding_value": 1.0}):
        with pytest.raises(WeightsError, match=f"{next(iter(wrong))}.* is not supported"):
            read_media(wrong)


def test_pixels_that_are_not_rescaled_are_normalised_by_the_same_statistics():
    """(pixel * factor - mean) / std is what the model gets, whatever the file calls it."""
    read_media = reader(image_mean=HALF, image_std=HALF, resize="squash")
    pixels = np.array([0.0, 100.0, 255.0])
    for config, factor in (
        ({"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [63.0] * 3}, 1),
        ({"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3}, 1 / 127.5),
        ({"do_rescale": True, "image_mean": HALF, "image_std": HALF}, 1 / 255),
    ):
        ours = read_media(config)
        mean, std = config["image_mean"][0], config["image_std"][0]
        expected = (pixels * factor - mean) / std
        found = (pixels / 255 - ours["image_mean"][0]) / ours["image_std"][0]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    bare = read_media({"do_rescale": False, "do_normalize": False})
    np.testing.assert_allclose(
        (pixels / 255 - bare["image_mean"][0]) / bare["image_std"][0], pixels
    )


@pytest.mark.parametrize(
    "config",
    [
        {"do_flip_channel_order": True},
        {"rescale_offset": True},
        {"size_divisor": 32},
        {"do_rescale": "no"},
        {"rescale_factor": 0},
        {"image_std": [0.0, 1.0, 1.0]},
        {"image_mean": ["a", "b", "c"]},
    ],
)
def test_how_images_are_prepared_is_not_passed_over(config):
    with pytest.raises(WeightsError, match=next(iter(config))):
        reader(image_mean=HALF, image_std=HALF)(config)


def test_a_whisper_hears_as_published_or_not_at_all():
    table = TABLES["whisper"]
    assert table.read_media({"hop_length": 160, "feature_size": 80, "dither": 0.0}) == {}
    with pytest.raises(WeightsError, match="hop_length = 320"):
        table.read_media({"hop_length": 320})
    with pytest.raises(WeightsError, match="do_normalize"):
        TABLES["audio-spectrogram-transformer"].read_media({"do_normalize": False})


# === Which files ===


@pytest.fixture(scope="module")
def small():
    sizes = {"vocab_size": 23, "num_layers": 1, "hidden_dim": 16, "num_heads": 2, "ffn_dim": 24}
    sizes |= {"num_kv_heads": 1, "head_dim": 8, "max_length": 32}
    return randomise(modelzoo.build("smollm2-135m", compile=False, **sizes))


def test_the_whole_weights_win_over_an_index_that_is_older(small, tmp_path):
    folder = write_checkpoint(small, tmp_path / "out")
    names = load_file(folder / "model.safetensors")
    index = {"weight_map": dict.fromkeys(names, "model-00001-of-00002.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    again = modelzoo.build(folder, compile=False)
    ids = np.arange(8)[None]
    np.testing.assert_array_equal(number(again(ids)), number(small(ids)))
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="which is not there"):
        modelzoo.build(folder, compile=False)


def test_an_adapter_alone_or_on_top_of_a_model_is_rejected_by_name(small, tmp_path):
    folder = write_checkpoint(small, tmp_path / "out")
    config = {"peft_type": "LORA", "base_model_name_or_path": "owner/base"}
    alone = tmp_path / "adapter"
    alone.mkdir()
    for place in (folder, alone):
        (place / "adapter_config.json").write_text(json.dumps(config))
        save_file({"a": np.zeros(1, "float32")}, place / "adapter_model.safetensors")
        with pytest.raises(WeightsError, match=r"adapter \(LORA, for owner/base\)"):
            modelzoo.build(place, compile=False)


def test_the_hub_fetches_the_small_files_that_are_read_from_a_disk():
    from modelzoo.weights.hub import download

    assert {*SMALL, "adapter_config.json"} <= download._SMALL
    assert set(SENTENCE) <= set(SMALL)


def test_loras_are_written_into_the_weights(small, tmp_path):
    model = modelzoo.build(write_checkpoint(small, tmp_path / "base"), compile=False)
    (layer,) = (one for one in model._flatten_layers() if one.name == "query")
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
    ids = np.arange(8)[None]
    assert np.abs(number(model(ids)) - number(small(ids))).max() > 1e-3
    again = modelzoo.build(write_checkpoint(model, tmp_path / "out"), compile=False)
    np.testing.assert_allclose(number(again(ids)), number(model(ids)), atol=1e-5)
    assert open_checkpoint(tmp_path / "out").tensors.keys() == (
        open_checkpoint(tmp_path / "base").tensors.keys()
    )
