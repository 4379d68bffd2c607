"""Token ids with the control tokens around them, the same in training and on the device.

The tokenizer's post-processor says which control tokens these are. A tokenizer without one has the
frame that its roles give: "[CLS] a [SEP] b [SEP]", or "[bos] text eos" for an encoder-decoder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from modelzoo.errors import OverflowTextError, TokenizerError
from modelzoo.runtime.text.roles import missing_role

__all__ = ["Frame", "frame_of", "pair_frame", "source_frame", "unknown_post_processor"]

_KINDS = ("TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel", "Sequence")
_Piece = tuple[int | str, int]  # an id, or "A" or "B" for the tokens of a text; and its segment


@dataclass(frozen=True)
class Frame:
    """What stands around a text, and around two.

    Attributes:
        single: (id or "A", segment) in their order.
        pair: (id, "A" or "B", segment) in their order; `None` where two texts have no frame.

    Example:
        >>> frame = Frame(single=((101, 0), ("A", 0), (102, 0)))
        >>> frame.join([7, 8])
        ([101, 7, 8, 102], [0, 0, 0, 0])
    """

    single: tuple[_Piece, ...]
    pair: tuple[_Piece, ...] | None = None

    def join(
        self,
        a: Sequence[int],
        b: Sequence[int] | None = None,
        max_length: int | None = None,
        *,
        truncate: bool = False,
    ) -> tuple[list[int], list[int]]:
        """The ids of a text, or of two, in their frame, and the segment of each.

        What is too long is cut from the end of the longer of the two.

        Raises:
            OverflowTextError: longer than `max_length`, and `truncate` was not asked for.
            TokenizerError: two texts, and no frame for them.
        """
        pieces = self.single if b is None else self.pair
        if pieces is None:
            raise missing_role("sep")
        texts = {"A": list(a), "B": list(b or ())}
        if max_length is not None:
            extra = sum(isinstance(piece, int) for piece, _ in pieces)
            room = max(0, max_length - extra)
            lengths = {name: len(ids) for name, ids in texts.items()}
            if sum(lengths.values()) > room:
                if not truncate:
                    raise _overflow(sum(lengths.values()) + extra, max_length)
                half = (room + 1) // 2
                texts["A"] = texts["A"][: max(room - lengths["B"], half)]
                texts["B"] = texts["B"][: max(room - len(texts["A"]), room - half)]
        ids: list[int] = []
        segments: list[int] = []
        for piece, segment in pieces:
            own = [piece] if isinstance(piece, int) else texts[piece]
            ids += own
            segments += [segment] * len(own)
        return ids, segments


def frame_of(backend) -> Frame | None:
    """The frame that the post-processor of a `tokenizers.Tokenizer` makes.

    Returns: `None` where it has none, or one that only moves offsets (`ByteLevel`).

    Raises:
        TokenizerError: a post-processor of an unknown kind, or several that frame.
    """
    if backend.post_processor is None:
        return None
    states = [*_flat(json.loads(backend.post_processor.__getstate__()))]
    framing = [state for state in states if state["type"] != "ByteLevel"]
    if not framing:
        return None
    if len(framing) > 1:
        kinds = " and ".join(state["type"] for state in framing)
        raise TokenizerError(
            f"the post-processor frames a text {len(framing)} times: {kinds}",
            next_step="keep one of them in tokenizer.json",
        )
    (state,) = framing
    if state["type"] == "TemplateProcessing":
        tokens = {name: token["ids"] for name, token in state["special_tokens"].items()}
        return Frame(*(tuple(_pieces(state[key], tokens)) for key in ("single", "pair")))
    cls, sep = state["cls"][1], state["sep"][1]
    single: tuple[_Piece, ...] = ((cls, 0), ("A", 0), (sep, 0))
    if state["type"] == "BertProcessing":
        return Frame(single, (*single, ("B", 1), (sep, 1)))
    return Frame(single, (*single, (sep, 0), ("B", 0), (sep, 0)))


def pair_frame(roles: Mapping[str, int]) -> Frame:
    """[CLS] a [SEP] and [CLS] a [SEP] b [SEP]; a vocabulary without them has a text as it is."""
    cls: tuple[_Piece, ...] = ((roles["cls"], 0),) if "cls" in roles else ()
    if "sep" not in roles:
        return Frame((*cls, ("A", 0)))
    sep = roles["sep"]
    single: tuple[_Piece, ...] = (*cls, ("A", 0), (sep, 0))
    return Frame(single, (*single, ("B", 1), (sep, 1)))


def source_frame(roles: Mapping[str, int]) -> Frame:
    """What the encoder of a sequence-to-sequence model reads: [bos] text eos.

    bos stands only where the vocabulary has one of its own (BART has, T5 has not).

    Raises:
        TokenizerError: no token has the role "eos".
    """
    if "eos" not in roles:
        raise missing_role("eos")
    eos = roles["eos"]
    bos: tuple[_Piece, ...] = ((roles["bos"], 0),) if roles.get("bos", eos) != eos else ()
    return Frame((*bos, ("A", 0), (eos, 0)))


def unknown_post_processor(text: str) -> str | None:
    """What is wrong with the post-processor of a `tokenizer.json` that does not load, if it is.

    Returns: a sentence, or `None` where its kind is known, or nothing can be read at all.
    """
    try:
        state = json.loads(text)["post_processor"]
        for _ in _flat(state):
            pass
    except TokenizerError as error:
        return error.what
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return None


def _flat(state: dict) -> Iterator[dict]:
    if state["type"] not in _KINDS:
        raise TokenizerError(
            f"the post-processor {state['type']} is not known; choose one of {', '.join(_KINDS)}",
            next_step="take a tokenizer.json with one of these",
        )
    if state["type"] == "Sequence":
        for one in state["processors"]:
            yield from _flat(one)
    else:
        yield state


def _pieces(template: Sequence[Mapping], tokens: Mapping[str, list[int]]) -> Iterator[_Piece]:
    for one in template:
        ((kind, piece),) = one.items()
        found = [piece["id"]] if kind == "Sequence" else tokens[piece["id"]]
        for id in found:
            yield id, piece["type_id"]


def _overflow(length: int, max_length: int) -> OverflowTextError:
    return OverflowTextError(
        f"the text has {length} tokens; the model reads {max_length}",
        next_step="shorten the text, or pass truncate=True to cut it",
    )
