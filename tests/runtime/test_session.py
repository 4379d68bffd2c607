"""A later turn takes in only what is new, and its reply is that of a fresh state."""

import json

import numpy as np
import pytest

from modelzoo.errors import BundleError, ModelzooError, OverflowTextError
from modelzoo.runtime import load
from modelzoo.runtime.generation.loop import generate_tokens
from modelzoo.runtime.generation.sampling import Sampling
from modelzoo.runtime.generation.session import ChatSession, Session
from tests.runtime import chats
from tests.runtime.chats import assistant, user

FIRST = [(3 * n + 1) % 13 for n in range(6)]


class Counting:
    """A session on the numpy model, and what its steppers were fed."""

    def __init__(self, fakes, **attributes):
        self.model = fakes.AttentionModel()
        self.made, self.attributes = [], attributes
        self.stamp = 0
        self.session = Session(self.stepper, self.model.max_length, lambda: self.stamp)

    def stepper(self, length):
        stepper = self.model.stepper(1, 4, **self.attributes)
        self.made.append(stepper)
        feed = stepper._step

        def step(token_ids, positions):
            self.fed += [int(token) for token in token_ids[0] if token >= 0]
            return feed(token_ids, positions)

        stepper._step = step
        return stepper

    def reply(self, ids, count=3, stop=None, **options):
        """The tokens of a reply, of which `stop` are read."""
        self.fed = []
        run = self.session.generate(ids, Sampling(max_new_tokens=count, **options))
        tokens = []
        while stop is None or len(tokens) < stop:
            row = next(run, None)
            if row is None:
                break
            tokens.append(row[1])
        return tokens


@pytest.fixture
def counting(fakes):
    return Counting(fakes)


def test_the_second_turn_takes_in_only_what_is_new(counting):
    said = counting.reply(FIRST)
    assert said == counting.model.greedy(FIRST, 3) and len(counting.fed) == 6 + 2
    second = [*FIRST, *said, 5, 9]
    assert counting.reply(second) == counting.model.greedy(second, 3)
    # The last token of the reply was never fed; then the two new ones and two of the reply.
    assert counting.fed[:3] == second[-3:] and len(counting.fed) == 3 + 2
    assert len(counting.made) == 1


def test_the_same_prompt_again_feeds_its_last_token_alone(counting):
    said = counting.reply(FIRST)
    assert counting.reply(FIRST) == said
    assert counting.fed == [FIRST[-1], *said[:2]]


def test_a_prompt_that_is_a_beginning_of_what_is_held_is_right(counting):
    counting.reply([*FIRST, 4, 4, 4])
    assert counting.reply(FIRST[:3]) == counting.model.greedy(FIRST[:3], 3)
    assert counting.fed[0] == FIRST[2] and len(counting.fed) == 3
    assert counting.reply([*FIRST, 4]) == counting.model.greedy([*FIRST, 4], 3)


def test_an_edited_message_falls_back_to_what_is_common(counting):
    said = counting.reply(FIRST)
    edited = [*FIRST[:3], 12, *FIRST[4:], *said, 7]
    assert counting.reply(edited) == counting.model.greedy(edited, 3)
    assert counting.fed[: len(edited) - 3] == edited[3:]
    other = [11, 11]
    assert counting.reply(other) == counting.model.greedy(other, 3)
    assert len(counting.fed) == 2 + 2


@pytest.mark.parametrize("read", [0, 1, 2])
def test_a_stream_that_is_left_midway_does_no_harm(counting, read):
    said = counting.reply(FIRST, count=8, stop=read)
    second = [*FIRST, *said, 3, 1, 8]
    assert counting.reply(second) == counting.model.greedy(second, 3)
    assert len(counting.fed) <= (len(second) if read == 0 else 4) + 2


def test_an_interrupt_within_a_call_leaves_a_state_that_can_be_gone_on_with(counting):
    counting.reply(FIRST)
    stepper, calls = counting.made[0], []
    whole = stepper._step

    def broken(token_ids, positions):
        calls.append(1)
        if len(calls) == 2:
            stepper.state[:, :, :, positions[0]] = 7.0  # half of it was written
            raise KeyboardInterrupt
        return whole(token_ids, positions)

    stepper._step = broken
    with pytest.raises(KeyboardInterrupt):
        counting.reply([*FIRST, 1, 2, 3, 4, 5, 6])
    stepper._step = whole
    for ids in ([*FIRST, 1, 2, 3, 4, 5, 6], FIRST):
        assert counting.reply(ids) == counting.model.greedy(ids, 3)


@pytest.mark.parametrize("sizes", [(1, 4), (4,), (2, 8), (16,)])
@pytest.mark.parametrize("length", [7, 9, 12, 15, 16])
def test_chunks_that_shift_back_at_the_windows_end_give_the_same(fakes, sizes, length):
    counting = Counting(fakes, prefill_lengths=sizes)
    ids = [(5 * n + 2) % 13 for n in range(length)]
    counting.reply(ids[:6], count=2)
    assert counting.reply(ids, count=4) == counting.model.greedy(ids, 4)
    assert counting.session.tokens[:length] == ids


def test_drawn_tokens_do_not_depend_on_what_was_held(counting, fakes):
    options = {"temperature": 1.5, "seed": 4, "repetition_penalty": 1.2}
    second = [*FIRST, *counting.reply(FIRST), 5]
    run = generate_tokens(counting.model.stepper(), [second], Sampling(max_new_tokens=5, **options))
    assert counting.reply(second, 5, **options) == [token for _, token in run]


def test_other_weights_make_what_is_held_worthless(counting):
    counting.reply(FIRST)
    counting.model.embedding = counting.model.embedding[::-1]
    counting.stamp = 1
    second = [*FIRST, 2]
    assert counting.reply(second) == counting.model.greedy(second, 3)
    assert counting.fed[:7] == second and len(counting.made) == 2


def test_sessions_on_one_model_are_independent(fakes):
    one, two = Counting(fakes), Counting(fakes)
    two.model = one.model
    a, b = FIRST, [9, 8, 7, 6]
    for count in (1, 2):
        a = [*a, *one.reply(a, count), 3]
        b = [*b, *two.reply(b, count), 5]
    assert one.reply(a) == one.model.greedy(a, 3) and two.reply(b) == one.model.greedy(b, 3)


def test_a_later_reply_ends_the_one_before(counting):
    first = counting.session.generate(FIRST, Sampling(max_new_tokens=5))
    counting.fed = []
    next(first)
    second = counting.reply([1, 2])
    with pytest.raises(ModelzooError, match="ended by a later one"):
        next(first)
    assert second == counting.model.greedy([1, 2], 3)
    assert counting.reply([1, 2]) == second


def test_a_conversation_longer_than_the_window_says_how_to_go_on(counting):
    counting.reply(FIRST)
    with pytest.raises(OverflowTextError, match=r"17 tokens.* 16(.|\n)*/clear"):
        counting.session.generate([1] * 17)
    full = [1] * 16
    assert counting.reply(full) == counting.model.greedy(full, 1)  # the last slot gives one token
    assert counting.reply(FIRST) == counting.model.greedy(FIRST, 3)


def slide(model, ids, count=3):
    """The reply that a fresh state gives."""
    run = generate_tokens(model.stepper(), [ids], Sampling(max_new_tokens=count, when_full="slide"))
    return [token for _, token in run]


@pytest.mark.parametrize("count", [1, 3, 7, 20])
def test_a_conversation_goes_on_beyond_the_window_when_asked(counting, count):
    ids = list(FIRST)
    for turn in range(8):
        said = counting.reply(ids, count, when_full="slide")
        assert said == slide(counting.model, ids, count)
        # What the session says the state holds is the end of the text, and lies in those slots.
        held = counting.session.tokens
        assert len(held) <= 16 and held == [*ids, *said][:-1][-len(held) :]
        ids = [*ids, *said, turn]
    assert len(ids) > 16 and len(counting.made) == 1


def test_a_slid_conversation_still_takes_in_little_of_its_next_turn(counting):
    ids = [*FIRST, *counting.reply(FIRST, 15, when_full="slide"), 5]  # 22 tokens, 8 left out
    assert counting.reply(ids, 1, when_full="slide") == slide(counting.model, ids, 1)
    assert len(counting.fed) <= 2
    assert counting.reply(FIRST) == counting.model.greedy(FIRST, 3)


def test_wrong_prompts_are_refused_and_leave_the_state(counting):
    said = counting.reply(FIRST)
    for wrong in ([], [99], [-1]):
        with pytest.raises(ModelzooError):
            counting.session.generate(wrong)
    assert counting.reply([*FIRST, *said, 1]) == counting.model.greedy([*FIRST, *said, 1], 3)
    assert len(counting.fed) == 2 + 2


def test_a_recurrent_state_starts_anew(fakes):
    session = Session(lambda length: fakes.RecurrentStepper(), None)
    for ids in (FIRST, [*FIRST, 1, 2], FIRST[:2]):
        run = session.generate(ids, Sampling(max_new_tokens=4))
        assert [token for _, token in run] == fakes.RecurrentStepper().greedy(ids, 4)


def test_a_window_grows_when_a_conversation_does(fakes):
    sizes = []

    def new(length):
        sizes.append(length)
        return fakes.AttentionModel(max_length=16).stepper(max_length=max(8, length))

    session = Session(new, 16)
    model = fakes.AttentionModel()
    for ids in ([1, 2], [1, 2, 3], FIRST):
        run = session.generate(ids, Sampling(max_new_tokens=4))
        assert [token for _, token in run] == model.greedy(ids, 4)
    assert sizes == [6, 10]


# === A bundle ===

SOURCE = (
    "{% for m in messages %}{{ m.content }} {{ eos_token if m.role == 'assistant' }} {% endfor %}"
)


@pytest.fixture(scope="module")
def bundle(tiny, tmp_path_factory):
    where = tmp_path_factory.mktemp("chat") / "decoder"
    return with_template(tiny, "decoder", where)


def with_template(tiny, name, where, **options):
    """A tiny bundle that chats."""
    tiny.bundle(name, where, **options)
    return chats.add_template(where, SOURCE)


def test_a_bundle_chats_as_its_model_generates(tiny, bundle):
    model = load(bundle, threads=1)
    assert model.abilities == ("generate", "chat")
    for options in ({"max_new_tokens": 5}, {"max_new_tokens": 5, "temperature": 2.0, "seed": 3}):
        fresh = model.generate("a b c", **options)
        assert model.chat("a b c", **options) == fresh
        assert "".join(model.chat([user("a b c")], stream=True, **options)) == fresh
    assert model.chat("a b c") == model.generate("a b c", max_new_tokens=None)


def test_a_bundles_second_turn_feeds_only_what_is_new(bundle, monkeypatch):
    model = load(bundle, threads=1)
    session = model.chat_session()
    assert isinstance(session, ChatSession)
    talk = [user("a b c"), assistant(session.chat("a b c", max_new_tokens=2)), user("d")]
    held, fed = len(session.session.tokens), []
    stepper = type(session.session._stepper)
    step = stepper._step

    def counted(self, token_ids, positions):
        fed.append(int(np.sum(token_ids >= 0)))
        return step(self, token_ids, positions)

    monkeypatch.setattr(stepper, "_step", counted)
    reply = session.chat(talk, max_new_tokens=3)
    ids = session._encoder.encode(talk)
    assert held >= 3 and sum(fed) <= len(ids) - held + 3
    monkeypatch.undo()
    assert reply == load(bundle, threads=1).chat(talk, max_new_tokens=3)
    # The model's own conversation knows nothing of this one.
    assert model.chat("a b c", max_new_tokens=2) == talk[1]["content"]


def test_stop_tokens_of_the_tokenizer_end_a_reply(tiny, bundle):
    model = load(bundle, threads=1)
    ids = model.tokenizer.encode("a b c")
    tokens = tiny.attention.greedy(ids, 6)
    model.tokenizer.stop_tokens = (tokens[2],)
    assert model.chat("a b c") == model.tokenizer.decode(tokens[: tokens.index(tokens[2])])


def test_a_bundle_without_a_template_says_so(tiny, tmp_path):
    model = load(tiny.bundle("decoder", tmp_path / "b"), threads=1)
    assert model.abilities == ("generate",)
    with pytest.raises(ModelzooError, match=r"no chat template(.|\n)*next: "):
        model.chat("a")
    model = load(with_template(tiny, "classes", tmp_path / "c"), threads=1)
    with pytest.raises(ModelzooError, match="cannot `chat`; it can `classify`"):
        model.chat("a")
    model = load(with_template(tiny, "seq2seq", tmp_path / "s"), threads=1)
    with pytest.raises(ModelzooError, match="cannot `chat`; it can `generate`"):
        model.chat("a")


def test_a_recurrent_bundle_chats(tiny, tmp_path):
    model = load(with_template(tiny, "recurrent", tmp_path / "r"), threads=1)
    for talk in ([user("a b")], [user("a b"), assistant("c"), user("d")]):
        ids = model.chat_session()._encoder.encode(talk)
        expected = tiny.recurrent.greedy(ids, 4)
        expected = expected[: (expected + [4]).index(4)]
        assert model.chat(talk, max_new_tokens=4) == model.tokenizer.decode(expected)


@pytest.mark.parametrize("name", ["../chat_template.jinja", "absent.jinja", 3, ""])
def test_a_template_outside_the_bundle_or_without_hash_is_refused(tiny, tmp_path, name):
    where = with_template(tiny, "decoder", tmp_path / "b")
    text = (where / "manifest.json").read_text()
    manifest = json.loads(text)
    manifest["tokenizer"]["chat_template"] = name
    (where / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="outside the bundle|no hash"):
        load(where)


def test_an_edited_template_is_not_the_one_that_was_exported(tiny, tmp_path):
    where = with_template(tiny, "decoder", tmp_path / "b")
    (where / "chat_template.jinja").write_text("{{ messages[0].content }}")
    with pytest.raises(BundleError, match="chat_template.jinja is not the file"):
        load(where)


def test_wrong_options_and_messages_are_refused_before_anything_runs(bundle):
    model = load(bundle, threads=1)
    with pytest.raises(ModelzooError, match="did you mean: max_new_tokens"):
        model.chat("a", max_new_token=5)
    with pytest.raises(ModelzooError, match="no messages"):
        model.chat([], stream=True)
    with pytest.raises(OverflowTextError, match="/clear"):
        model.chat("a " * 20, stream=True)
