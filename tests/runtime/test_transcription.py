"""From sound to text by windows, over a stepper that says what it is told to."""

from __future__ import annotations

import numpy as np
import pytest

from modelzoo.data.train_tokenizer import train_tokenizer
from modelzoo.errors import BundleError, TokenizerError
from modelzoo.runtime.abilities.transcription import Restrained, cut_windows, prompt_of, transcribe
from modelzoo.runtime.generation.sampling import Sampling

TEXTS = ["press one to go on", "press two to end"]
LENGTH, RATE = 1000, 100
PROCESSING = {
    "audio": {"sample_rate": RATE, "num_samples": LENGTH, "padding": "zeros"},
    "transcription": {"language": None, "suppress_tokens": [], "begin_suppress_tokens": []},
}


def tokenizer_with(*tokens: str):
    return train_tokenizer(TEXTS * 4, "byte", specials=("<pad>", "<s>", "</s>", *tokens))


class Scripted:
    """Says its script token by token, and something else that is likelier."""

    batch_size, max_length, prefill_length = 1, 64, 4

    def __init__(self, script, vocab_size, likelier=()):
        self.script, self.vocab_size, self.likelier = script, vocab_size, likelier
        self.prompt = None

    def prefill(self, token_ids, positions):
        pass

    def decode(self, token_ids, positions):
        if self.prompt is None:
            self.prompt = int(positions[0, 0])
        logits = np.zeros((1, self.vocab_size), np.float32)
        logits[0, list(self.likelier)] = 2
        place = min(int(positions[0, 0]) - self.prompt, len(self.script) - 1)
        logits[0, self.script[place]] = 1
        return logits


def heard(tokenizer, texts, likelier=(), **processing):
    """Transcribes a sound of as many windows as there are texts; also what each window heard."""
    audio, waiting = [], list(texts)

    def begin(window, sampling):
        audio.append(window["audio"])
        script = [*tokenizer.encode(waiting.pop(0)), tokenizer.role("eos")]
        return Scripted(script, tokenizer.vocab_size, likelier)

    how = {**PROCESSING["transcription"], **processing}
    sound = np.full(LENGTH * len(texts) - 100, 0.5, "float32")
    text = transcribe(begin, tokenizer, {**PROCESSING, "transcription": how}, sound, max_length=64)
    return text, audio


def test_windows_are_written_down_in_turn_and_joined():
    text, audio = heard(tokenizer_with(), [" press one", " to go on"])
    assert text == "press one to go on"
    assert [window.shape for window in audio] == [(1, LENGTH)] * 2
    # All of the sound is heard, and once.
    assert sum(float(window.sum()) for window in audio) == pytest.approx(0.5 * 1900)


@pytest.mark.parametrize(
    ("language", "texts", "joined"),
    [
        ("zh", ["你好", "世界"], "你好世界"),
        ("ja", ["これは", "iPhone"], "これはiPhone"),
        ("zh", ["你好", " OK"], "你好 OK"),  # the model's own space
        (None, ["สวัสดี", "ครับ"], "สวัสดีครับ"),
        (None, ["안녕", "하세요"], "안녕 하세요"),
        ("en", ["press one", "to go on"], "press one to go on"),
    ],
)
def test_windows_are_joined_as_the_language_is_written(language, texts, joined):
    tokens = [] if language is None else [f"<|{language}|>", "<|transcribe|>"]
    assert heard(tokenizer_with(*tokens), texts, language=language)[0] == joined


def test_pieces_joined_are_the_text():
    tokenizer = tokenizer_with()

    def begin(window, sampling):
        return Scripted([*tokenizer.encode(" press two"), tokenizer.role("eos")], 300)

    sound = np.full(LENGTH, 0.5, "float32")
    pieces = list(transcribe(begin, tokenizer, PROCESSING, sound, max_length=64, stream=True))
    assert len(pieces) > 3 and "".join(pieces) == "press two"
    rows = list(
        transcribe(begin, tokenizer, PROCESSING, [sound, sound], max_length=64, stream=True)
    )
    assert [row for row, _ in rows] == [0] * len(pieces) + [1] * len(pieces)


def test_a_window_of_silence_says_nothing_and_is_not_even_run():
    def begin(window, sampling):
        raise AssertionError("it was run")

    sounds = [np.zeros(300, "float32"), np.full(5, 1e-5, "float32")]
    assert transcribe(begin, tokenizer_with(), PROCESSING, sounds, max_length=64) == ["", ""]


def test_what_is_suppressed_is_not_written_however_likely():
    tokenizer = tokenizer_with()
    noise = tokenizer.encode("#")[0]
    text, _ = heard(tokenizer, [" press"], likelier=[noise])
    assert text.startswith("#")
    text, _ = heard(tokenizer, [" press"], likelier=[noise], suppress_tokens=[noise])
    assert text == "press"


def test_control_tokens_are_never_written():
    tokenizer = tokenizer_with("<|nospeech|>")
    likelier = [tokenizer.token_to_id("<|nospeech|>"), tokenizer.role("bos")]
    assert heard(tokenizer, [" press"], likelier=likelier)[0] == "press"


def test_what_no_text_begins_with_may_come_later():
    tokenizer = tokenizer_with()
    how = {"begin_suppress_tokens": [tokenizer.role("eos")]}
    inner = Scripted([tokenizer.role("eos")] * 4, tokenizer.vocab_size)
    stepper = Restrained(inner, tokenizer, how, first=2)
    first, second = (
        stepper.decode(np.zeros((1, 1), int), np.full((1, 1), place)) for place in (2, 3)
    )
    assert np.isneginf(first[0, tokenizer.role("eos")])
    assert second[0, tokenizer.role("eos")] == 1
    assert stepper.max_length == 64  # all else is the inner one's


def test_ids_that_the_tokenizer_does_not_know_are_never_drawn():
    tokenizer = tokenizer_with()
    inner = Scripted([0], tokenizer.vocab_size + 3)
    stepper = Restrained(inner, tokenizer, {}, first=0)
    logits = stepper.decode(np.zeros((1, 1), int), np.zeros((1, 1), int))
    assert np.isneginf(logits[0, -3:]).all() and np.isfinite(logits[0, -4])


def test_the_prompt_names_language_and_task_where_the_model_has_several():
    plain = tokenizer_with()
    assert prompt_of(plain) == [plain.role("bos")]
    names = ("<|startoftranscript|>", "<|en|>", "<|zh|>", "<|transcribe|>", "<|notimestamps|>")
    whisper = tokenizer_with(*names)
    ids = {name: whisper.token_to_id(name) for name in names}
    assert prompt_of(whisper) == [ids[names[0]], ids[names[4]]]
    assert prompt_of(whisper, "zh") == [ids[names[n]] for n in (0, 2, 3, 4)]
    with pytest.raises(TokenizerError, match=r"no token <\|zz\|>") as caught:
        prompt_of(whisper, "zz")
    assert caught.value.did_you_mean == "<|zh|>"


def test_a_long_sound_is_cut_where_it_is_quietest():
    sound = np.full(2500, 0.5, "float32")
    sound[880:910] = 0.01  # within the last quarter of the first window
    sound[300:400] = 0.0  # and not where it would leave a short one
    pieces = cut_windows(sound, LENGTH, RATE)
    assert 880 <= len(pieces[0]) <= 910
    assert all(len(piece) <= LENGTH for piece in pieces)
    np.testing.assert_array_equal(np.concatenate(pieces), sound)


def test_a_short_sound_is_one_window():
    sound = np.ones(LENGTH, "float32")
    assert len(cut_windows(sound, LENGTH, RATE)) == 1


def test_a_manifest_that_says_nothing_of_transcription_is_refused():
    with pytest.raises(BundleError, match="no processing.transcription"):
        transcribe(None, tokenizer_with(), {"audio": {}}, np.ones(4), max_length=8)


def test_no_more_tokens_are_written_than_asked_for():
    tokenizer = tokenizer_with()
    script = [tokenizer.encode("a")[0]] * 70

    def begin(window, sampling: Sampling):
        assert sampling.max_new_tokens == 5
        return Scripted(script, tokenizer.vocab_size)

    sound = np.ones(10, "float32")
    text = transcribe(begin, tokenizer, PROCESSING, sound, max_length=64, max_new_tokens=5)
    assert text == "aaaaa"
