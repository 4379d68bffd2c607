"""A loaded bundle: text or media in, an answer out. Needs numpy, tokenizers, and an engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import cast

from modelzoo.runtime.abilities.answering import OUTPUTS, AnsweringAbility
from modelzoo.runtime.abilities.captioning import CaptionAbility, captions_images
from modelzoo.runtime.abilities.chatting import ChatAbility
from modelzoo.runtime.abilities.classifying import ClassifyAbility
from modelzoo.runtime.abilities.embedding import EmbedAbility, embedding_signature
from modelzoo.runtime.abilities.filling import FillMaskAbility
from modelzoo.runtime.abilities.media import media_abilities, medium_of
from modelzoo.runtime.abilities.nearest import NearestAbility
from modelzoo.runtime.abilities.ranking import RankAbility
from modelzoo.runtime.abilities.sources import media_kinds
from modelzoo.runtime.abilities.tagging import TagAbility
from modelzoo.runtime.abilities.transcription import TranscriptionAbility, transcribes
from modelzoo.runtime.bundle import Bundle, read_bundle
from modelzoo.runtime.engines.base import Engine, SignatureInfo, SteppingEngine
from modelzoo.runtime.engines.opening import open_engine
from modelzoo.runtime.text.tokenizer import Tokenizer


def load(
    path: str | os.PathLike,
    threads: int | None = None,
    weight_cache: str | os.PathLike | bool | None = True,
    trust: bool = False,
) -> Model:
    """Load a bundle that `modelzoo export` wrote, after checking the hash of each of its files.

    A model file that this user neither exported nor loaded before is checked first, and tried in a
    child process; `docs/safety.md` says what that finds.

    Args:
        path: the bundle's directory; or the name of one that a plugin brings, `samples/emoji`.
        threads: CPU threads; None is one a core that this process may use, four at most.
        weight_cache: where packed weights are kept (TFLite only), so that the next load takes a
            fraction of the time: True is the user's cache, of 4 GiB at most, which is left out
            without a word where it cannot be used. A directory is without a bound, and what cannot
            be kept there is a warning. None keeps none.
        trust: open the model file without these checks; the hashes are compared all the same.

    Raises:
        BundleError: missing, incomplete, altered, of a newer format, not loadable, or a model file
            that does not pass the checks.

    Example:
        >>> load("gpt.bundle").generate("In the beginning", max_new_tokens=5)
        ' God created heaven'
    """
    bundle = read_bundle(path)
    tokenizer = open_tokenizer(bundle)
    return Model(bundle, tokenizer, open_engine(bundle, threads, weight_cache, trust))


def open_tokenizer(bundle: Bundle) -> Tokenizer | None:
    """The bundle's tokenizer with the roles that its manifest states; `None` where it has none."""
    if not bundle.tokenizer_path:
        return None
    stated = bundle.manifest["tokenizer"]
    return Tokenizer.load(bundle.tokenizer_path, stated.get("roles"), stated.get("stop_tokens", ()))


class Model(
    NearestAbility,
    CaptionAbility,
    TranscriptionAbility,
    AnsweringAbility,
    TagAbility,
    RankAbility,
    ClassifyAbility,
    EmbedAbility,
    FillMaskAbility,
    ChatAbility,
):
    """What a bundle can do: some of `generate`, `chat`, `classify`, `rank`, `embed`, `fill_mask`,
    `tag`, `answer` and `score`, of what `runtime.abilities.media.MediaAbilities` does with images,
    sounds and videos, and `nearest` where it carries a gallery.

    Attributes:
        task: as in the recipe, "causal-lm" for one.
        manifest: see `bundle.read_bundle`.
        tokenizer: a `Tokenizer`, or None.
        engine: runs single signatures: `engine.run(name, arrays)`.
        abilities: the names of the methods that fit this bundle: of those that its task offers,
            as the manifest states them, what its signatures allow.
        embedding_signature: the signature that `embed` runs, or None; `embed` and the others
            take a smaller one of the same kind (`embed_32`) where a text fits into it.

    Several threads may use it at once: their calls take turns, and each generation has a state
    of its own. A conversation belongs to one thread: take a `chat_session()` for each.
    """

    def __init__(self, bundle: Bundle, tokenizer: Tokenizer | None, engine: Engine):
        self.bundle, self.tokenizer = bundle, tokenizer
        self.engine = cast(SteppingEngine, engine)  # one without a stepper does not generate
        self.manifest, self.task = bundle.manifest, bundle.manifest["task"]
        self.embedding_signature = embedding_signature(engine.signatures)
        able = _abilities(engine.signatures, tokenizer, bundle.chat_template_path)
        if bundle.manifest.get("gallery") and any(name.startswith("embed") for name in able):
            able = ("nearest", *able)
        if bundle.manifest.get("labels") and tokenizer is not None and _tags(engine.signatures):
            able = (*able, "tag")
        stated = bundle.manifest.get("abilities")
        # What a manifest names beyond what its signatures allow is nothing that could be called.
        self.abilities = able if stated is None else tuple(n for n in able if n in stated)
        self._processing = bundle.processing  # what is wrong with it is said now

    def __repr__(self) -> str:
        return f"Model({self.manifest['name']!r}, task={self.task!r}, can={self.abilities})"


def _abilities(
    signatures: Mapping[str, SignatureInfo], tokenizer, chat_template=None
) -> tuple[str, ...]:
    """What fits, as the signatures' outputs tell it."""
    media = media_abilities(signatures, tokenizer)
    logits = signatures["serve"].outputs.get("logits") if "serve" in signatures else None
    classifies = logits is not None and len(logits.shape) == 2
    if tokenizer is None:
        reads_media = classifies and medium_of(signatures["serve"]) is not None
        return ("classify", *media) if reads_media else tuple(media)
    able = ["generate"] if "decode" in signatures else []
    if captions_images(signatures):
        able = [*able, "caption"] if media_kinds(signatures) else ["caption"]
    elif transcribes(signatures):
        able = ["transcribe"]
    elif able and chat_template is not None and "encode" not in signatures:
        able.append("chat")
    if "generate" in able and any(name.startswith("score_") for name in signatures):
        able.append("score")
    if classifies:
        able.append("classify")
    if logits is not None and classifies and logits.shape[1] == 1:
        able.append("rank")
    if "serve" in signatures and set(OUTPUTS) <= set(signatures["serve"].outputs):
        able.append("answer")
    if logits is not None and len(logits.shape) == 3 and "mask" in tokenizer.roles:
        able += ["fill_mask", "score"]
    if embedding_signature(signatures):
        able.append("embed")
    return (*able, *media)


def _tags(signatures) -> bool:
    """Whether each token has logits of its own."""
    logits = signatures["serve"].outputs.get("logits") if "serve" in signatures else None
    return logits is not None and len(logits.shape) == 3
