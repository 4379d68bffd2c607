"""Models that hear, against `transformers`: waveforms in, the same numbers out.

Nothing is downloaded: `transformers` makes small models with seeded random weights.
"""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import modelzoo  # noqa: E402
from modelzoo.layers.frontends.mel import CLAP, KALDI, WHISPER, mel_filters  # noqa: E402
from modelzoo.layers.frontends.spectrogram import LogMelSpectrogram  # noqa: E402
from modelzoo.weights import write_checkpoint  # noqa: E402
from tests.core import number  # noqa: E402
from tests.layers.test_spectrogram import SOUNDS, TOLERANCE, noise, speech  # noqa: E402
from tests.real.test_checkpoints import assert_same_weights, long, near, reference, saved  # noqa: E402

pytestmark = pytest.mark.real

_AST = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_length": 96,
    "num_mel_bins": 48,
    "num_labels": 3,
}
_WHISPER = {
    "vocab_size": 61,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_source_positions": 50,
    "max_target_positions": 24,
    "num_mel_bins": 80,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 3,
    "suppress_tokens": None,
    "begin_suppress_tokens": [2],
}
_MOONSHINE = {
    "vocab_size": 61,
    "hidden_size": 40,  # heads of 20, of which 18 turn
    "intermediate_size": 48,
    "encoder_num_hidden_layers": 2,
    "decoder_num_hidden_layers": 3,
    "encoder_num_attention_heads": 2,
    "decoder_num_attention_heads": 2,
    "max_position_embeddings": 32,
}


def test_an_ast_has_their_outputs_and_weights(tmp_path):
    theirs = reference("ASTForAudioClassification", "ASTConfig", _AST)
    ours = modelzoo.build(saved(theirs, tmp_path / "theirs"))
    count = ours.backbone.num_samples
    sounds = np.stack([speech(count), noise(count)])
    sounds[1, 9000:] = 0
    real = np.array([count, 9000], "int32")
    extract = transformers.ASTFeatureExtractor(num_mel_bins=48, max_length=96)
    features = extract(
        [sound[:n] for sound, n in zip(sounds, real, strict=True)],
        sampling_rate=16_000,
        return_tensors="pt",
    )
    with torch.no_grad():
        body = theirs.audio_spectrogram_transformer(features.input_values)
        logits = theirs(features.input_values).logits
    given = {"audio": sounds, "num_samples": real}
    near(theirs, ours.backbone(given)["sequence"], body.last_hidden_state)
    near(theirs, ours.backbone(given)["pooled"], body.pooler_output)
    near(theirs, ours(given), logits)

    write_checkpoint(ours, tmp_path / "back")
    assert_same_weights(tmp_path / "back", theirs)
    again = transformers.ASTFeatureExtractor.from_pretrained(tmp_path / "back")
    assert (again.num_mel_bins, again.max_length) == (48, 96)
    assert again.mean == pytest.approx(extract.mean) and again.std == pytest.approx(extract.std)


def test_a_whisper_has_their_logits_text_and_weights(tmp_path):
    from modelzoo.runtime.generation.loop import generate_tokens
    from modelzoo.runtime.generation.sampling import Sampling

    theirs = reference("WhisperForConditionalGeneration", "WhisperConfig", _WHISPER)
    ours = modelzoo.build(saved(theirs, tmp_path / "theirs"))
    assert ours.processing()["transcription"]["begin_suppress_tokens"] == [2]
    sounds = np.stack([speech(16_000), noise(16_000)])
    sounds[1, 9000:] = 0
    extract = transformers.WhisperFeatureExtractor(chunk_length=1)
    features = extract(list(sounds), sampling_rate=16_000, return_tensors="pt").input_features
    tokens = np.random.default_rng(0).integers(3, 61, (2, 12)).astype("int32")
    with torch.no_grad():
        wanted = theirs(features, decoder_input_ids=long(tokens)).logits
    near(theirs, ours({"audio": sounds, "token_ids": tokens}), wanted)

    sampling = Sampling(max_new_tokens=20)
    generation = generate_tokens(ours.stepper(sounds, sampling), [[3]] * 2, sampling)
    list(generation)
    theirs.generation_config.begin_suppress_tokens = None
    cache, text = None, long([[3], [3]])
    with torch.no_grad():
        memory = theirs.model.encoder(features)
        for _ in range(20):
            step = theirs(encoder_outputs=memory, decoder_input_ids=text, past_key_values=cache)
            text = torch.cat([text, step.logits[:, -1:].argmax(-1)], dim=1)
    assert generation.tokens == text[:, 1:].tolist()

    write_checkpoint(ours, tmp_path / "back")
    assert_same_weights(tmp_path / "back", theirs)
    again = transformers.WhisperFeatureExtractor.from_pretrained(tmp_path / "back")
    assert again.n_samples == 16_000 and again.feature_size == 80


def test_a_moonshine_has_their_logits_and_weights_and_silence_behind_a_sound_counts_nothing(
    tmp_path,
):
    theirs = reference("MoonshineForConditionalGeneration", "MoonshineConfig", _MOONSHINE)
    saved(theirs, tmp_path / "theirs")
    ours = modelzoo.build(tmp_path / "theirs", num_samples=16_000)
    assert ours.recipe.task == "speech-to-text" and ours.language is None
    tokens = np.random.default_rng(0).integers(3, 61, (2, 12)).astype("int32")
    real = [16_000, 9_001]
    sounds = np.stack([speech(16_000), noise(16_000)])
    sounds[1, 9_001:] = 0
    got = ours({"audio": sounds, "num_samples": np.array(real, "int32"), "token_ids": tokens})
    for row, count in enumerate(real):
        with torch.no_grad():
            wanted = theirs(
                torch.tensor(sounds[row : row + 1, :count]),
                decoder_input_ids=long(tokens[row : row + 1]),
            ).logits
        near(theirs, got[row : row + 1], wanted)

    write_checkpoint(ours, tmp_path / "back")
    assert_same_weights(tmp_path / "back", theirs)


@pytest.mark.parametrize("kind", SOUNDS)
def test_the_spectrograms_are_those_of_their_feature_extractors(kind):
    sound = SOUNDS[kind](16_000)
    whisper = transformers.WhisperFeatureExtractor(chunk_length=1)
    wanted = whisper._np_extract_fbank_features(sound[None].astype("float64"), "cpu")[0].T
    got = number(LogMelSpectrogram(WHISPER)(sound[None]))[0]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)

    ast = transformers.ASTFeatureExtractor(max_length=98)
    wanted = ast(sound, sampling_rate=16_000, return_tensors="np").input_values[0]
    got = number(LogMelSpectrogram(KALDI)(sound[None]))[0]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=TOLERANCE.get(kind, 1e-4))


def test_the_filters_are_those_of_their_feature_extractors():
    for config, extractor in (
        (WHISPER, transformers.WhisperFeatureExtractor()),
        (KALDI, transformers.ASTFeatureExtractor()),
        (CLAP, transformers.ClapFeatureExtractor()),
    ):
        np.testing.assert_allclose(mel_filters(config), extractor.mel_filters, atol=1e-12)
