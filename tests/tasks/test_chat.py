"""Chat with Keras models: turns that go on from each other, weights that change in between."""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest

import modelzoo
from modelzoo.errors import ModelzooError, OverflowTextError, TokenizerError, WeightsError
from modelzoo.runtime.bundle import read_bundle
from modelzoo.tasks.causal_lm import CausalLM
from modelzoo.tasks.shared.chat import weights_stamp
from modelzoo.tasks.shared.stepper import KerasStepper
from tests import small as recipes
from tests.core import fresh, randomise
from tests.runtime import chats
from tests.runtime.chats import assistant, system, user

PLAIN = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"


def chatty(name: str = "gpt-2", template: str = PLAIN, **options) -> CausalLM:
    """A random model with a tokenizer and a template."""
    tokenizer = chats.byte_level()
    if name not in ("gru", "lstm"):
        options = {"max_length": 96, **options}
    model = CausalLM(randomise(fresh(name, vocab_size=tokenizer.vocab_size, **options)))
    model.tokenizer, model.chat_template = tokenizer, template
    return model


def anew(model: CausalLM, messages, **sampling) -> str:
    """The reply from a fresh state."""
    return model.chat_session().chat(messages, **sampling)


@pytest.fixture
def fed(monkeypatch) -> list[int]:
    """The tokens that Keras steppers take in."""
    tokens: list[int] = []
    for name in ("prefill", "decode"):
        whole = getattr(KerasStepper, name)

        def counted(self, token_ids, positions, whole=whole):
            tokens.extend(int(token) for token in np.ravel(token_ids) if token >= 0)
            return whole(self, token_ids, positions)

        monkeypatch.setattr(KerasStepper, name, counted)
    return tokens


@pytest.fixture(scope="module", params=["gpt-2", "llama", "relative", "gru"])
def model(request) -> CausalLM:
    return chatty(request.param)


def test_a_reply_is_what_the_model_generates_for_the_rendered_text(model):
    ids = [*model.tokenizer.encode("Hi"), model.tokenizer.roles["eos"]]
    eos = model.tokenizer.roles["eos"]
    (tokens,) = model.generate_tokens([ids], max_new_tokens=7, stop_tokens=[eos])
    assert model.chat("Hi", max_new_tokens=7) == model.tokenizer.decode(tokens)
    options = {"max_new_tokens": 7, "temperature": 1.0, "seed": 2}
    whole = model.chat([user("Hi")], **options)
    assert "".join(model.chat([user("Hi")], stream=True, **options)) == whole


def test_a_later_turn_is_that_of_a_fresh_state_and_feeds_only_what_is_new(model, fed):
    talk = [user("Hi there")]
    for question in ("and?", "so"):
        reply = model.chat(talk, max_new_tokens=4)
        assert reply == anew(model, talk, max_new_tokens=4)
        talk += [assistant(reply), user(question)]
    del fed[:]
    reply = model.chat(talk, max_new_tokens=4)
    count = len(fed)
    del fed[:]
    assert anew(model, talk, max_new_tokens=4) == reply
    if model.backbone.max_length is None:
        assert count == len(fed)  # a recurrent state cannot be gone on with
    else:
        # "<|im_end|>so<|im_end|>", and of the last reply what its tokens were not.
        assert count < len(fed) / 2


def test_an_edited_message_and_a_stream_left_midway_are_right(model):
    talk = [user("one two three"), assistant("four"), user("five")]
    model.chat(talk, max_new_tokens=4)
    stream = model.chat(talk, stream=True, max_new_tokens=9, temperature=1.0)
    said = next(stream, "")
    stream.close()
    for other in (
        [*talk[:2], user("six")],
        [user("one two thrice"), *talk[1:]],
        [*talk, assistant(said), user("go on")],
        talk[:1],
    ):
        assert model.chat(other, max_new_tokens=4) == anew(model, other, max_new_tokens=4)


def change_by_fit(model):
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss="sparse_categorical_crossentropy")
    ids = np.ones((2, 4), "int32")
    model.fit(ids, ids, epochs=1, verbose=0)


def change_by_one_assign(model):
    weight = model.backbone.trainable_weights[-1]
    value = keras.ops.convert_to_numpy(weight).copy()
    value.flat[0] += 1e-3
    weight.assign(value)


def change_by_set_weights(model):
    model.set_weights([np.asarray(w) * 1.5 for w in model.get_weights()])


@pytest.mark.parametrize("change", [change_by_fit, change_by_one_assign, change_by_set_weights])
def test_weights_that_change_between_two_turns_count_for_the_whole_conversation(change, fed):
    model = chatty()
    talk = [user("Hi there"), assistant("you"), user("and?")]
    model.chat(talk, max_new_tokens=3)
    before = weights_stamp(model)
    assert weights_stamp(model) == before
    del fed[:]
    model.chat(talk, max_new_tokens=3)
    assert len(fed) <= 3
    change(model)
    assert weights_stamp(model) != before
    del fed[:]
    reply = model.chat(talk, max_new_tokens=3)
    assert len(fed) > 10
    assert reply == anew(model, talk, max_new_tokens=3)


def test_weights_from_a_file_count_too(tmp_path, fed):
    model, other = chatty(), chatty()
    randomise(other, seed=5)
    other.save_weights(tmp_path / "other.weights.h5")
    model.chat("Hi there", max_new_tokens=3)
    model.load_weights(tmp_path / "other.weights.h5")
    reply = model.chat("Hi there", max_new_tokens=3)
    assert reply == other.chat("Hi there", max_new_tokens=3)


def test_half_precision_weights_have_a_stamp():
    keras.config.set_dtype_policy("bfloat16")
    try:
        model = chatty()
    finally:
        keras.config.set_dtype_policy("float32")
    before = weights_stamp(model)
    change_by_one_assign(model)
    assert len(before) == len(model.weights)
    randomise(model, seed=3)
    assert weights_stamp(model) != before


def test_another_template_or_tokenizer_begins_another_conversation():
    model = chatty()
    first = model.chat("Hi", max_new_tokens=5)
    model.chat_template = "{{ messages[0].content }}!"
    assert model.chat("Hi", max_new_tokens=5) == model.generate("Hi!", max_new_tokens=5)
    model.chat_template = PLAIN
    assert model.chat("Hi", max_new_tokens=5) == first
    model.tokenizer = chats.byte_level()
    assert model.chat("Hi", max_new_tokens=5) == first


def test_a_state_grows_with_its_conversation(fed):
    model = chatty(max_length=700)
    session = model.chat_session()
    talk = [user("a" * 100)]
    session.chat(talk, max_new_tokens=3)
    assert session.session._stepper.max_length == 256
    talk += [assistant("b" * 200), user("c")]
    reply = session.chat(talk, max_new_tokens=3)
    assert session.session._stepper.max_length == 512
    assert reply == anew(model, talk, max_new_tokens=3)
    session.chat(talk, max_new_tokens=None, stop="\0")
    assert session.session._stepper.max_length == 700


def test_sessions_of_one_model_know_nothing_of_each_other():
    model = chatty()
    one, two = model.chat_session(), model.chat_session()
    a, b = [user("the one")], [user("another")]
    for _ in range(2):
        a += [assistant(one.chat(a, max_new_tokens=3)), user("x")]
        b += [assistant(two.chat(b, max_new_tokens=3)), user("y")]
    assert one.chat(a, max_new_tokens=3) == anew(model, a, max_new_tokens=3)
    assert two.chat(b, max_new_tokens=3) == anew(model, b, max_new_tokens=3)


def test_a_conversation_longer_than_the_window_says_how_to_go_on():
    model = chatty()
    with pytest.raises(OverflowTextError, match=r"101 tokens.* 96(.|\n)*leave its first messages"):
        model.chat("a" * 100)
    assert model.chat("a" * 95, stream=False) is not None


def test_what_a_model_lacks_to_chat_is_said():
    model = chatty()
    model.chat_template = None
    with pytest.raises(ModelzooError, match=r"no chat template(.|\n)*next: .*chat"):
        model.chat("Hi")
    model.chat_template = "{% if %}"
    with pytest.raises(WeightsError, match="is not valid Jinja"):
        model.chat("Hi")
    model.tokenizer = None
    with pytest.raises(TokenizerError, match="no tokenizer"):
        model.chat("Hi")
    with pytest.raises(ModelzooError, match="did you mean: temperature"):
        chatty().chat("Hi", temprature=1.0)


# === Directories and bundles ===


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    model = modelzoo.build(
        "gpt-tiny", **{**recipes.GPT, "max_length": 128}, tokenizer=chats.byte_level()
    )
    randomise(model.backbone)
    model.chat_template = "\n" + chats.CHATML
    return modelzoo.save(model, tmp_path_factory.mktemp("chat") / "model")


def test_a_model_directory_holds_the_template(directory, tmp_path):
    path = directory / "chat_template.jinja"
    assert path.read_text("utf-8") == "\n" + chats.CHATML
    model = modelzoo.load(directory)
    assert model.chat_template == "\n" + chats.CHATML
    taken = modelzoo.build(
        "gpt-tiny", **{**recipes.GPT, "max_length": 128}, weights=directory, compile=False
    )
    assert taken.chat_template == model.chat_template
    plain = modelzoo.save(recipes.with_tokenizer(), tmp_path / "plain")
    assert not (plain / "chat_template.jinja").exists()
    assert modelzoo.load(plain).chat_template is None


def test_a_template_that_is_no_text_is_refused(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "copy")
    (copy / "chat_template.jinja").write_bytes(b"\xff\xfe{{")
    with pytest.raises(WeightsError, match=r"cannot be read(.|\n)*chat_template.jinja"):
        modelzoo.load(copy)


def test_a_bundle_takes_the_template_along_and_replies_alike(directory, tmp_path):
    modelzoo.export(directory, tmp_path / "b", quantize="float32", max_length=128)
    manifest = read_bundle(tmp_path / "b").manifest
    assert manifest["tokenizer"]["chat_template"] == "chat_template.jinja"
    assert "chat_template.jinja" in manifest["files"]
    assert (tmp_path / "b" / "chat_template.jinja").read_text("utf-8") == "\n" + chats.CHATML
    device, model = modelzoo.runtime.load(tmp_path / "b"), modelzoo.load(directory)
    talk = [system("S"), user("Hi")]
    for _ in range(2):
        reply = device.chat(talk, max_new_tokens=6)
        assert reply == model.chat(talk, max_new_tokens=6)
        talk += [assistant(reply), user("so")]
