"""What a checkpoint's generation_config.json asks for holds where the caller says nothing."""

from __future__ import annotations

import json

import pytest

from modelzoo.errors import ModelzooError, WeightsError
from modelzoo.runtime import load
from modelzoo.runtime.generation.defaults import first_tokens, sampling_with
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.weights.generation import generation_options

QWEN = {  # Qwen2.5's
    "bos_token_id": 151643,
    "pad_token_id": 151643,
    "do_sample": True,
    "eos_token_id": [151645, 151643],
    "repetition_penalty": 1.1,
    "temperature": 0.7,
    "top_p": 0.8,
    "top_k": 20,
    "transformers_version": "4.37.0",
}
QWEN_OURS = {"do_sample": True, "repetition_penalty": 1.1, "temperature": 0.7}
QWEN_OURS |= {"top_p": 0.8, "top_k": 20}


def options(content: dict, config: dict | None = None) -> dict:
    return generation_options(config or {}, {"generation_config.json": content})


def test_only_what_changes_a_text_is_kept():
    assert options(QWEN) == QWEN_OURS
    idle = {"temperature": 0.6, "top_p": 0.9, "num_beams": 1, "max_length": 20, "use_cache": False}
    assert options(idle) == {}  # nothing is drawn
    assert options({"early_stopping": True, "length_penalty": 2.0}) == {}  # no beams
    assert options({"bad_words_ids": None, "suppress_tokens": []}) == {}


def test_an_older_config_says_it_itself_and_a_file_of_its_own_wins():
    config = {"do_sample": True, "top_k": 5, "num_beams": 1, "hidden_size": 3}
    assert generation_options(config, {}) == {"do_sample": True, "top_k": 5}
    assert options({}, config) == {}


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ({"repetition_penalty": "1.1"}, "repetition_penalty must be a number"),
        ({"do_sample": "yes"}, "do_sample must be true or false"),
        ({"do_sample": True, "top_p": 3}, "top_p must be a number"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number"),
        ({"forced_bos_token_id": "</s>"}, "forced_bos_token_id must be the id of a token"),
        ({"stop_strings": [3]}, "stop must be a string"),
    ],
)
def test_a_wrong_value_is_one_clear_message(content, wanted):
    with pytest.raises(WeightsError, match=wanted) as caught:
        options(content)
    assert caught.value.where == "generation_config.json"


def test_the_caller_wins_over_the_checkpoint():
    assert sampling_with(QWEN_OURS, {}) == Sampling(
        temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.1
    )
    said = sampling_with(QWEN_OURS, {"top_p": 0.5, "max_new_tokens": 3})
    assert (said.top_p, said.top_k, said.max_new_tokens) == (0.5, 20, 3)
    # The likeliest token needs no nucleus.
    assert sampling_with(QWEN_OURS, {"temperature": 0}) == Sampling(repetition_penalty=1.1)
    # What transformers draws with, where the file says no more than that it draws.
    assert sampling_with({"do_sample": True}, {}) == Sampling(temperature=1.0, top_k=50)
    off = {"do_sample": True, "top_k": 0, "top_p": 1.0}
    assert sampling_with(off, {}) == Sampling(temperature=1.0)
    assert sampling_with(None, {}) == Sampling()
    with pytest.raises(ModelzooError, match="unknown generation option 'topk'"):
        sampling_with(QWEN_OURS, {"topk": 3})


def test_what_cannot_be_done_is_named_when_text_is_asked_for():
    kept = options({"num_beams": 4, "no_repeat_ngram_size": 3, "length_penalty": 2.0})
    with pytest.raises(ModelzooError, match="num_beams = 4, no_repeat_ngram_size = 3") as caught:
        sampling_with(kept, {})
    assert "task_options.generation" in str(caught.value)
    assert first_tokens({"forced_bos_token_id": 0}) == [0] and first_tokens({}) == []


WHISPER = {  # a fine-tuned one's, cut
    "alignment_heads": [[2, 2], [3, 0]],
    "begin_suppress_tokens": [220, 50257],
    "decoder_start_token_id": 50258,
    "forced_decoder_ids": [[1, None], [2, 50359]],
    "is_multilingual": True,
    "lang_to_id": {"<|en|>": 50259, "<|hi|>": 50276},
    "language": "hindi",
    "max_initial_timestamp_index": 50,
    "max_length": 448,
    "no_timestamps_token_id": 50363,
    "prev_sot_token_id": 50361,
    "return_timestamps": False,
    "suppress_tokens": [1, 2],
    "task": "transcribe",
    "task_to_id": {"transcribe": 50359, "translate": 50358},
}


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({}, {}),
        ({"no_repeat_ngram_size": 3}, {"no_repeat_ngram_size": 3}),
        ({"task": "translate"}, {"task": "translate"}),
        ({"return_timestamps": True}, {"return_timestamps": True}),
        ({"logprob_threshold": -1.0}, {"logprob_threshold": -1.0}),
        ({"max_new_tokens": 9, "num_beams": 1}, {"max_new_tokens": 9}),
    ],
)
def test_each_key_of_a_speech_model_is_read_idle_or_kept_to_be_refused(more, kept):
    from modelzoo.tasks.speech_to_text import SpeechToTextTask
    from modelzoo.weights.keys import Asked

    content = {**WHISPER, **more}
    asked = Asked({"model_type": "whisper", "vocab_size": 51_865, **content}, "x")
    found = SpeechToTextTask.options_of_config(asked, frozenset())
    assert found["language"] == "hi" and found["suppress_tokens"] == [1, 2]
    files = {"generation_config.json": content}
    assert generation_options({}, files, asked.keys_asked) == kept
    if kept and "max_new_tokens" not in kept:
        with pytest.raises(ModelzooError, match=next(iter(kept))):
            sampling_with(kept, {})


def test_the_language_of_a_speech_model_is_a_code_a_token_a_name_or_forced():
    from modelzoo.tasks.speech_to_text import SpeechToTextTask

    def language(**more):
        config = {"is_multilingual": True, **more}
        return SpeechToTextTask.options_of_config(config, frozenset())["language"]

    assert [language(language=name) for name in ("hi", "<|hi|>", "Hindi")] == ["hi"] * 3
    forced = {"lang_to_id": WHISPER["lang_to_id"], "forced_decoder_ids": [[1, 50276], [2, 50359]]}
    assert (language(), language(**forced)) == ("en", "hi")
    forced |= {"task_to_id": WHISPER["task_to_id"], "forced_decoder_ids": [[2, 50358]]}
    with pytest.raises(WeightsError, match="forced_decoder_ids with 50358, to translate"):
        language(**forced)


def test_a_bundle_generates_as_its_manifest_says(tiny, tmp_path):
    plain = load(tiny.bundle("decoder", tmp_path / "a"))
    penalized = load(tiny.bundle("decoder", tmp_path / "b", generation={"repetition_penalty": 9.0}))
    text = "a b c"
    expected = plain.generate(text, max_new_tokens=6, repetition_penalty=9.0)
    assert penalized.generate(text, max_new_tokens=6) == expected
    assert plain.generate(text, max_new_tokens=6) != expected
    beams = load(tiny.bundle("decoder", tmp_path / "c", generation={"num_beams": 2}))
    with pytest.raises(ModelzooError, match="num_beams = 2"):
        beams.generate(text)


def test_a_keras_model_generates_so_and_writes_it_back(tmp_path):
    import modelzoo
    from modelzoo.weights import write_checkpoint
    from tests.core import randomise

    sizes = {"vocab_size": 40, "num_layers": 1, "hidden_dim": 16, "num_heads": 2, "ffn_dim": 24}
    sizes |= {"num_kv_heads": 1, "head_dim": 8, "max_length": 32}
    made = randomise(modelzoo.build("smollm2-135m", compile=False, **sizes))
    folder = write_checkpoint(made, tmp_path / "out")
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "repetition_penalty": 1.8}))
    model = modelzoo.build(folder, compile=False)
    assert model.recipe.values["task_options"] == {"generation": {"repetition_penalty": 1.8}}
    expected = made.generate_tokens([[3, 4]], max_new_tokens=8, repetition_penalty=1.8)
    assert model.generate_tokens([[3, 4]], max_new_tokens=8) == expected
    assert made.generate_tokens([[3, 4]], max_new_tokens=8) != expected
    again = write_checkpoint(model, tmp_path / "again")
    assert json.loads((again / path.name).read_text())["repetition_penalty"] == 1.8
    without = modelzoo.build(folder, compile=False, **{"task_options.generation": None})
    assert without.generate_tokens([[3, 4]], max_new_tokens=8) == made.generate_tokens(
        [[3, 4]], max_new_tokens=8
    )


def test_a_seed_at_temperature_0_is_refused_as_top_p_is():
    for options in ({"seed": 3}, {"seed": 0}, {"seed": 3, "temperature": 0}):
        with pytest.raises(ModelzooError, match="seed has no effect at temperature 0") as caught:
            sampling_with({}, options)
        assert caught.value.next_step == "add temperature=1.0"
    assert sampling_with({}, {"seed": 3, "temperature": 1.0}).seed == 3
    assert sampling_with({"do_sample": True}, {"seed": 3}).seed == 3
