"""The options of `modelzoo run` that fit what a model does."""

from __future__ import annotations

import argparse

from modelzoo.cli.run_inputs import context_of, unescaped
from modelzoo.errors import ModelzooError
from modelzoo.runtime.abilities.known import ABILITIES

_GENERATION = (
    *("max_new_tokens", "temperature", "top_k", "top_p", "repetition_penalty", "seed"),
    *("when_full", "speculate"),
)


def options_for(ability: str, args: argparse.Namespace) -> dict:
    """The given options that fit; those that do not are rejected, not ignored."""
    generation = {name: getattr(args, name) for name in _GENERATION}
    generation = {name: value for name, value in generation.items() if value is not None}
    if args.stop:
        generation["stop"] = [unescaped(text) for text in args.stop]
    answers = {} if args.top is None else {"top": args.top}
    how = ABILITIES[ability]
    writes = how.gives == "text"
    wrong = {} if writes else dict(generation)
    if not writes and args.stream is not None:
        wrong["stream"] = args.stream
    if args.logprobs and (ability != "generate" or args.stream):
        wrong["logprobs"] = True
    if how.gives not in ("label", "token", "answer"):
        wrong.update(answers)
    own = set(how.options)
    if args.label and ability == "classify":
        own.add("template")
    for name in (name for one in ABILITIES.values() for name in one.options):
        if name not in own and getattr(args, name) is not None:
            wrong[name] = getattr(args, name)
    if args.truncate and not how.truncates:
        wrong["truncate"] = True
    if wrong:
        name = next(iter(wrong)).replace("_", "-")
        raise ModelzooError(
            f"--{name} does not fit: this model can {ability.replace('_', ' ')}",
            where=args.model,
            next_step=f"leave --{name} out",
        )
    if ability == "zero_shot":
        return {"labels": args.label, "template": args.template}
    if ability == "answer":
        context = {} if args.context is None else {"context": context_of(args.context)}
        return {**context, "n_best": args.top or 1}
    if ability == "caption" and args.prompt is not None:
        generation["prompt"] = args.prompt
    if args.threshold is not None:
        answers["threshold"] = args.threshold
    if args.label and ability == "classify":
        answers |= {"labels": args.label, "hypothesis": args.template}
    if ability == "rank":
        answers["candidates"] = args.label
    options = generation if writes else {} if how.gives == "vector" else answers
    return {**options, "truncate": True} if args.truncate else options
