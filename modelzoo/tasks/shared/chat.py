"""Conversations with a Keras model: the runtime's session over a state that Keras steps."""

from __future__ import annotations

from keras import ops

from modelzoo.runtime.generation.session import ChatSession, Session
from modelzoo.runtime.text.chat import ChatTemplate, no_template, template_tokens
from modelzoo.tasks.shared.stepper import KerasStepper, compiled, power_of_two

LEAST_SLOTS = 256  # of a conversation's state; it grows by doubling, and starts again then
PREFILL_LENGTHS = (16, 64, 256)

_AS_INTEGERS = {"float64": "int64", "float32": "int32", "float16": "int16", "bfloat16": "int16"}


def chat_session(model) -> ChatSession:
    """A conversation with a decoder that has a tokenizer and a chat template.

    Raises:
        TokenizerError: no tokenizer.
        ModelzooError: no chat template.
        WeightsError: a template that is not Jinja.
    """
    tokenizer = model.need_tokenizer()
    if model.chat_template is None:
        raise no_template()
    template = ChatTemplate(model.chat_template, template_tokens(tokenizer))
    longest = model.backbone.max_length
    session = Session(lambda length: _stepper(model, length), longest, lambda: weights_stamp(model))
    return ChatSession(session, tokenizer, template, model.generation)


def fits(session: ChatSession, model) -> bool:
    """Whether the model still has the tokenizer and the template that the session was made with."""
    same_template = session.template.source == model.chat_template
    return same_template and session.tokenizer is model.tokenizer


def weights_stamp(model) -> tuple:
    """Numbers that change when a weight does, whoever changed it: `fit`, `assign`, a file.

    The sum of each variable's bits. To read all weights once is the cost of one token.
    """

    def sums():
        totals = []
        for variable in model.weights:
            kind = variable.dtype
            value = ops.convert_to_tensor(variable)
            bits = ops.view(value, _AS_INTEGERS[kind]) if kind in _AS_INTEGERS else value
            totals.append(ops.cast(ops.sum(ops.cast(bits, "int32")), "int32"))
        return ops.stack(totals)

    stamp = model.compile_once("weights stamp", lambda: compiled(sums, model))
    return tuple(ops.convert_to_numpy(stamp()).tolist())


def _stepper(model, length: int | None) -> KerasStepper:
    """An empty state of one row with at least `length` slots, or one of a recurrent network."""
    if length is None:
        return KerasStepper(model.backbone, model.steps(), 1, None, 32)
    slots = min(power_of_two(length, LEAST_SLOTS), model.backbone.max_length)
    lengths = sorted({min(size, slots) for size in PREFILL_LENGTHS})
    stepper = KerasStepper(model.backbone, model.steps(), 1, slots, lengths[0])
    stepper.prefill_lengths = tuple(lengths)
    return stepper
