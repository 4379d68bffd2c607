"""Speech to text in Keras: what is heard is learned, written down, kept and shipped."""

from __future__ import annotations

import numpy as np
import pytest

import modelzoo
from modelzoo.errors import DataError, OverflowTextError
from modelzoo.exporting.quantization.rotate import ROTATION
from modelzoo.runtime import load
from tests.core import randomise

SMALL = {
    "vocab_size": 300,
    "num_layers": 1,
    "hidden_dim": 32,
    "num_heads": 2,
    "max_length": 24,
    "num_columns": 40,
    "tokenizer.kind": "byte",
    "train.length": 24,
    "train.batch_size": 4,
    "train.learning_rate": 1e-2,
    "train.warmup_steps": 0,
}
RATE = 16_000


def tone(hertz: float, seconds: float = 0.3, seed: int = 0) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    quiet = np.random.default_rng(seed).normal(0, 0.01, len(t))
    return (0.3 * np.sin(2 * np.pi * hertz * t) + quiet).astype("float32")


EXAMPLES = [
    {"audio": (tone(hertz, seed=seed), RATE), "text": text}
    for seed in range(4)
    for hertz, text in ((300, "low"), (3000, "high"))
]


def build(**changes):
    return modelzoo.build("whisper-nano", **{**SMALL, **changes})


@pytest.fixture(scope="module")
def trained():
    model = build()
    batches = modelzoo.dataset(model, EXAMPLES)
    model.fit(batches, epochs=40, verbose=0, shuffle=False)
    return model


def test_a_small_model_learns_two_words_and_writes_them(trained):
    found = trained.transcribe([(tone(300, seed=9), RATE), (tone(3000, seed=9), RATE)])
    assert found == ["low", "high"]


def test_a_sound_of_several_windows_is_written_down_in_turn(trained):
    sound = np.concatenate([tone(300), np.zeros(1000, "float32"), tone(3000)])
    assert trained.transcribe((sound, RATE)) == "low high"


def test_pieces_joined_are_what_is_written_at_once(trained):
    pieces = list(trained.transcribe((tone(3000), RATE), stream=True))
    assert len(pieces) > 1 and "".join(pieces) == "high"


def test_what_must_not_be_written_is_left_out_by_the_task_option(trained):
    letter = trained.tokenizer.encode(" h")[0]
    model = build(**{"task_options.suppress_tokens": [letter]})
    model.set_weights(trained.get_weights())
    model.tokenizer = trained.tokenizer
    assert model.processing()["transcription"]["suppress_tokens"] == [letter]
    assert not model.transcribe((tone(3000), RATE)).startswith(" h")


def test_a_batch_holds_sound_prompt_and_text(trained):
    from modelzoo.registry.of_recipe import task_of

    batches = task_of(trained.recipe).batches(
        EXAMPLES,
        trained.tokenizer,
        processing=trained.processing(),
        length=24,
        batch_size=2,
        shuffle=False,
    )
    x, y, weight = batches.batch(0)
    eos, start = trained.tokenizer.role("eos"), trained.tokenizer.role("bos")
    low = [*trained.tokenizer.encode(" low"), eos]
    assert x["audio"].shape == (2, 6400) and x["audio"].dtype == np.float32
    np.testing.assert_allclose(x["audio"][0, :4800], EXAMPLES[0]["audio"][0], atol=1e-6)
    assert not x["audio"][0, 4800:].any()
    assert x["token_ids"][0, : len(low)].tolist() == [start, *low[:-1]]
    assert y[0, : len(low)].tolist() == low
    assert weight[0].tolist() == [1.0] * len(low) + [0.0] * (len(y[0]) - len(low))
    assert batches.num_tokens == sum(
        len(trained.tokenizer.encode(f" {one['text']}")) + 1 for one in EXAMPLES
    )


def test_too_long_a_text_is_cut_with_a_warning_or_refused(trained):
    from modelzoo.data.speech import speech_batches

    long = [{**EXAMPLES[0], "text": "word " * 20}]
    options = {"processing": trained.processing(), "length": 24, "batch_size": 1}
    with pytest.warns(UserWarning, match="1 of 1 texts are longer than 24 tokens"):
        x, _, _ = speech_batches(long, trained.tokenizer, **options).batch(0)
    assert x["token_ids"].shape == (1, 24)
    with pytest.raises(OverflowTextError, match="has 102 tokens, and the model takes 24"):
        speech_batches(long, trained.tokenizer, truncate=False, **options)


def test_a_training_sound_longer_than_the_window_is_refused_by_name(trained):
    long = [{"audio": (tone(300, seconds=0.9), RATE), "text": "low"}]
    with pytest.raises(DataError, match=r"lasts 0\.90 s") as caught:
        modelzoo.dataset(trained, long)
    assert "example 1" in str(caught.value)


def test_evaluation_says_how_much_of_the_text_is_right(trained):
    figures = modelzoo.evaluate(trained, EXAMPLES)
    assert figures["accuracy"] > 0.9 and figures["perplexity"] < 1.5


def test_a_saved_model_writes_the_same(trained, tmp_path):
    modelzoo.building.directory.save(trained, tmp_path / "m")
    again = modelzoo.load(tmp_path / "m", compile=False)
    assert again.processing() == trained.processing()
    assert again.transcribe((tone(300), RATE)) == "low"


def test_more_languages_need_their_tokens(trained):
    model = build(**{"task_options.language": "de"})
    model.tokenizer = trained.tokenizer
    with pytest.raises(modelzoo.errors.TokenizerError, match=r"no token <\|de\|>"):
        model.transcribe((tone(300), RATE))


@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_a_bundle_transcribes_as_keras_does(trained, mode, tmp_path):
    options = {"windows": (12,), "prefill_lengths": (4,)}
    modelzoo.export(trained, tmp_path / "b", quantize=mode, **options)
    bundle = load(tmp_path / "b")
    assert bundle.abilities == ("transcribe",)
    assert set(bundle.engine.signatures) == {
        "encode", "prefill_4", "decode", "verify_4", "prefill_4_12", "decode_12", "verify_4_12",
    }  # fmt: skip
    sound = np.concatenate([tone(300), np.zeros(1000, "float32"), tone(3000)])
    assert bundle.transcribe((sound, RATE)) == "low high"
    assert bundle.transcribe([(tone(3000), RATE)]) == ["high"]
    if mode == "int8":
        kinds = matrix_types(tmp_path / "b" / "model.tflite")
        spectrogram = [kind for path, kind in kinds if "spectrogram" in path]
        turned = [kind for path, kind in kinds if ROTATION in path]
        others = [k for path, k in kinds if "spectrogram" not in path and ROTATION not in path]
        assert turned and set(turned) == {"FLOAT32"}
        assert spectrogram == ["FLOAT32"] * 3
        assert len(others) > 10 and set(others) == {"INT8"}


def matrix_types(path) -> list[tuple[str, str]]:
    """(name of the output, type of the matrix) of each product with a constant."""
    from ai_edge_litert import schema_py_generated as schema

    types = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    found = []
    for graph in (model.Subgraphs(i) for i in range(model.SubgraphsLength())):
        for op in (graph.Operators(i) for i in range(graph.OperatorsLength())):
            code = model.OperatorCodes(op.OpcodeIndex()).BuiltinCode()
            matrix = graph.Tensors(op.Inputs(1)) if op.InputsLength() > 1 else None
            stored = matrix and model.Buffers(matrix.Buffer())
            if code == schema.BuiltinOperator.FULLY_CONNECTED and (
                stored.DataLength() or stored.Size()
            ):
                name = graph.Tensors(op.Outputs(0)).Name().decode()
                found.append((name, types[matrix.Type()]))
    return found


def test_random_weights_of_the_published_size_have_the_published_parts():
    model = randomise(build(num_decoder_layers=2))
    signatures = model.export_signatures()
    assert {name for name in signatures["encode"].inputs} == {"audio"}
    assert signatures["decode"].inputs["cross_v_1"].shape == (1, 2, 16, 20)
    assert "cross_k_2" not in signatures["decode"].inputs


def test_a_bundle_that_hears_samples_is_told_how_many_are_real(tmp_path):
    small = {
        "vocab_size": 300,
        "num_layers": 1,
        "hidden_dim": 20,
        "num_heads": 2,
        "ffn_dim": 40,
        "max_length": 24,
        "num_samples": 6400,
        "tokenizer.kind": "byte",
        "train.length": 24,
    }
    model = randomise(modelzoo.build("moonshine-tiny", compile=False, **small))
    modelzoo.dataset(model, EXAMPLES)
    options = {"windows": (), "prefill_lengths": (4,)}
    modelzoo.export(model, tmp_path / "b", quantize="float32", **options)
    bundle = load(tmp_path / "b")
    assert set(bundle.engine.signatures["encode"].inputs) == {"audio", "num_samples"}
    sounds = [(tone(300), RATE), (tone(3000, seconds=0.4), RATE)]
    assert bundle.transcribe(sounds) == model.transcribe(sounds)
