"""The zoo is what it says: every recipe counts exactly, the published ones as published."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from modelzoo import cli, registry
from modelzoo.building import counting
from modelzoo.errors import ModelzooError, RecipeError, UnknownNameError
from modelzoo.recipe.composition import parts_of
from modelzoo.recipe.schema import validate_against
from tests.plugin_site import ROOT

# Counted from the authors' implementations, heads included where the recipe's task has them.
PUBLISHED = {
    "albert-base": 11_813_810,
    "ast": 86_594_063,
    "awd-lstm": 24_210_800,
    "bart-base": 139_420_416,
    "bert-base": 110_106_428,
    "bert-base-chinese": 102_882_442,
    "bert-large": 336_226_108,
    "bert-medium": 41_668_412,
    "bert-mini": 11_267_900,
    "bert-small": 29_058_876,
    "bert-tiny": 4_433_468,
    "clap-htsat-tiny": 153_492_890,
    "clip-vit-b32": 151_277_313,
    "cpm-2": 10_979_618_816,
    "cpm-2-moe": 198_219_640_832,
    "deit-b16": 87_338_192,
    "dinov2-s14": 22_397_800,
    "distilbert": 66_985_530,
    "distilbert-classifier": 66_955_010,
    "ettin-17m": 16_913_600,
    "gemma-2b": 2_506_172_416,
    "gemma2-2b": 2_614_341_888,
    "gemma3-270m": 268_098_176,
    "gpt-1": 116_534_784,
    "gpt-3-13b": 12_853_386_240,
    "gpt-3-175b": 174_604_259_328,
    "gpt-3-2.7b": 2_651_553_280,
    "gpt-3-6.7b": 6_658_404_352,
    "gpt-3-large": 760_300_032,
    "gpt-3-medium": 355_871_744,
    "gpt-3-small": 125_226_240,
    "gpt-3-xl": 1_315_723_264,
    "gpt-large": 774_030_080,
    "gpt-medium": 354_823_168,
    "gpt-small": 124_439_808,
    "gpt-xl": 1_557_611_200,
    "imagebind-huge": 1_200_781_057,
    "lstm-large": 66_022_000,
    "lstm-medium": 19_775_200,
    "minilm-l6": 22_713_216,
    "minilm-l6-classifier": 22_713_986,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "modernbert-base": 149_655_232,
    "moonshine-tiny": 27_092_736,
    "olmo2-1b": 1_484_916_736,
    "olmoe-1b-7b": 6_919_161_856,
    "opt-125m": 125_239_296,
    "pythia-70m": 70_426_624,
    "phi3-mini": 3_821_079_552,
    "qwen3-0.6b": 596_049_920,
    "qwen3-30b-a3b": 30_532_122_624,
    "roberta-base": 124_697_433,
    "siglip-b16-224": 203_155_970,
    "smollm2-135m": 134_515_008,
    "smollm3-3b": 3_075_098_624,
    "smolvlm-256m": 256_484_928,
    "switch-base-128": 7_415_217_408,
    "switch-base-8": 619_339_008,
    "switch-c": 1_571_308_972_448,
    "t5-base": 222_903_552,
    "t5-large": 737_668_096,
    "t5-small": 60_506_624,
    "t5-v1.1-base": 247_577_856,
    "t5-v1.1-large": 783_150_080,
    "t5-v1.1-small": 76_961_152,
    "transformer-base": 63_082_496,
    "vit-b16": 86_567_656,
    "vit-s16": 22_050_664,
    "vit-ti16": 5_717_416,
    "wav2vec2-base": 94_570_892,
    "whisper-tiny": 37_760_640,
    "whisper-tiny-en": 37_760_256,
}
# BERT's encoder and pooler without the heads.
BODIES = {
    "bert-tiny": 4_385_920,
    "bert-mini": 11_170_560,
    "bert-small": 28_763_648,
    "bert-medium": 41_373_184,
    "bert-base": 109_482_240,
    "bert-base-chinese": 102_267_648,
    "bert-large": 335_141_888,
}
BUILT = ("bert-tiny-classifier", "gpt-tiny", "gru-tiny", "lstm-tiny", "t5-tiny", "bert-tiny")
NAMES = sorted(path.stem for path in registry.recipes_directory().glob("*.toml"))
GPTS = [n for n in NAMES if n.startswith("gpt") and n not in ("gpt-1", "gpt-moe-tiny")]


# === What the files say ===


def test_the_published_models_are_stated_with_their_published_counts():
    assert {name: registry.recipe(name).parameters for name in PUBLISHED} == PUBLISHED


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_states_all_that_a_reader_and_a_trainer_need(name):
    recipe = registry.recipe(name)
    assert recipe.parameters and recipe.reference
    assert "\n" not in recipe.summary and 20 <= len(recipe.summary) <= 90
    task = registry.task(recipe.task)
    validate_against(recipe, task, "task_options")
    train = recipe.table("train")
    assert {"optimizer", "learning_rate", "schedule", "batch_size"} <= set(train)
    if not task.reads_text:
        return
    assert recipe.table("tokenizer")["kind"] in ("bpe", "wordpiece", "unigram")
    assert "length" in train
    window = text_window(recipe)
    if recipe.architecture == "recurrent":
        assert window is None and not recipe.table("export")  # it has no window
    else:
        assert train["length"] <= window
        assert recipe.table("export")["max_length"] <= window


def text_window(recipe):
    """Tokens that the model reads, or the part of it that reads text."""
    tables = [recipe.table("model"), *(part["model"] for _, part in parts_of(recipe.values))]
    return next((table["max_length"] for table in tables if "max_length" in table), None)


@pytest.mark.parametrize("name", GPTS)
def test_gpt_counts_follow_the_closed_form(name):
    recipe = registry.recipe(name)
    model = recipe.table("model")
    layers, width = model["num_layers"], model["hidden_dim"]
    tables = (model["vocab_size"] + model["max_length"]) * width
    assert recipe.parameters == 12 * layers * width**2 + 13 * layers * width + 2 * width + tables


def test_the_matrices_of_cpm_2_and_of_its_experts_are_the_published_ones():
    width, layers, experts = 4096, 48, 32
    rest = (2 * 24 + 3 * 24 + 2) * width + 2 * 32 * 64  # norms, relative positions
    routers = layers * width * experts
    assert registry.recipe("cpm-2").parameters - rest == 10_979_115_008
    assert registry.recipe("cpm-2-moe").parameters - rest - routers == 198_212_845_568


def test_switch_c_has_the_parameters_of_the_papers_table():
    assert round(registry.recipe("switch-c").parameters / 1e9) == 1571  # Fedus et al., table 9


def test_the_small_models_of_three_kinds_are_of_one_size():
    gpt = registry.recipe("gpt-tiny").parameters
    for name in ("lstm-tiny", "gru-tiny"):
        assert abs(registry.recipe(name).parameters / gpt - 1) < 0.01
        assert registry.recipe(name).table("model")["vocab_size"] == 4096


# === What the models have ===

COUNT_ALL = """
import json, resource, sys
from modelzoo.building import counting
counts = counting.count_many(json.load(sys.stdin))
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({"counts": counts, "peak": peak, "keras": "keras" in sys.modules}))
"""


def test_every_recipe_counts_exactly_and_175_billion_need_no_memory():
    pytest.importorskip("resource")
    result = subprocess.run(
        [sys.executable, "-c", COUNT_ALL],
        input=json.dumps(NAMES),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    answer = json.loads(result.stdout)
    assert answer["counts"] == {name: registry.recipe(name).parameters for name in NAMES}
    unit = 1 if sys.platform == "darwin" else 1024
    assert answer["peak"] * unit < 2.5e9
    assert not answer["keras"], "counting must not import Keras here"


def test_the_matrices_of_wudao_2_are_those_of_the_plan():
    recipe = registry.recipe("wudao-2")
    table = recipe.table("model")
    width, layers, vocab = (table[key] for key in ("hidden_dim", "num_layers", "vocab_size"))
    attention, ffn = 4 * width**2, 2 * width * table["ffn_dim"]
    sparse, count = layers, table["experts"]["count"]  # of twice as many layers, every second one
    experts = sparse * count * ffn
    rest = vocab * width + 3 * layers * attention + sparse * ffn + sparse * count * width
    assert (experts, experts + rest) == (1_739_461_754_880, 1_748_003_454_976)
    norms = (5 * layers + 2) * width
    front = (3 * 16**2 + 14**2 + table["num_frames"] + 3) * width
    positions = 2 * table["max_length"] * width
    assert recipe.parameters == experts + rest + norms + front + positions


def test_wudao_tiny_and_its_dense_sister_are_of_equal_active_size():
    sparse, dense = (registry.recipe(name) for name in ("wudao-tiny", "wudao-tiny-dense"))
    experts = sparse.table("model")["experts"]
    expert = 2 * sparse.table("model")["hidden_dim"] * experts["ffn_dim"]
    router = sparse.table("model")["hidden_dim"] * experts["count"]
    idle = 2 * (experts["count"] - experts["top_k"]) * expert  # one layer of each stack has experts
    assert sparse.parameters - idle - 2 * router == dense.parameters


def test_an_encoder_without_its_heads_is_the_published_body():
    for name, body in BODIES.items():
        recipe = registry.recipe(name)
        vocab, width = (recipe.table("model")[key] for key in ("vocab_size", "hidden_dim"))
        # Transform, its norm, the decoder's bias, next sentence.
        heads = (width * width + width) + 2 * width + vocab + (2 * width + 2)
        assert recipe.parameters - heads == body


@pytest.mark.parametrize("name", BUILT)
def test_a_built_model_has_the_parameters_that_its_recipe_states(name):
    from modelzoo.building.build import build

    model = build(name, compile=False)
    assert model.count_params() == registry.recipe(name).parameters


# === Counting as such ===


def test_overrides_are_counted(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # any backend counts, and JAX starts soonest
    assert counting.count_parameters("gpt-small", num_layers=6) == 124_439_808 - 6 * 7_087_872


def test_what_cannot_be_built_cannot_be_counted_and_says_why(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(RecipeError, match="hidden_dim 768 is not a multiple of num_heads 7"):
        counting.count_parameters("gpt-small", num_heads=7)
    with pytest.raises(UnknownNameError) as caught:
        counting.count_parameters("gpt-smal")
    assert caught.value.did_you_mean == "gpt-small"


def test_a_childs_death_is_reported_with_its_last_words(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "abacus")
    with pytest.raises(ModelzooError, match="abacus"):
        counting.count_parameters("gpt-tiny")


# === The command ===


def test_show_counts_beside_what_the_recipe_states(capsys, monkeypatch):
    monkeypatch.setattr(counting, "_count", lambda recipes: [2_615_424])
    assert cli.main(["show", "gpt-tiny", "--count"]) == 0
    printed = capsys.readouterr().out
    assert "# parameters 2,615,424\n# counted    2,615,424\n" in printed
    assert cli.main(["show", "gpt-tiny", "--count", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counted"] == 2_615_424


def test_show_refuses_a_recipe_that_states_another_count(capsys, monkeypatch):
    monkeypatch.setattr(counting, "_count", lambda recipes: [2_615_424])
    assert cli.main(["show", "gpt-tiny", "--count", "--set", "parameters=5"]) == 2
    captured = capsys.readouterr()
    assert "# counted    2,615,424" in captured.out
    assert "states 5 parameters and its model has 2,615,424" in captured.err
    assert "parameters = 2_615_424" in captured.err


def test_show_prints_what_set_changed_and_states_no_stale_count(capsys, monkeypatch):
    monkeypatch.setattr(counting, "_count", lambda recipes: [7])
    assert cli.main(["show", "gpt-tiny", "--count", "--set", "num_layers=1"]) == 0
    printed = capsys.readouterr().out
    assert "# parameters not stated\n# counted    7\n" in printed
    assert "num_layers = 1\n" in printed
