"""The README.md of a bundle: what it takes and gives, how exact it is, how to run it."""

from __future__ import annotations

from collections.abc import Sequence

from modelzoo.exporting.bundle.readme_code import runtime_code
from modelzoo.exporting.bundle.readme_media import held_out_text, media_lines, media_sizes
from modelzoo.exporting.formats.format import Format
from modelzoo.runtime.engines.base import in_order
from modelzoo.weights.origin import card_rows


def readme(manifest: dict, parity: dict, format: Format, texts: Sequence[str] = ()) -> str:
    """Return Markdown, made of the manifest, the figures and the format's own programs alone.

    Args:
        texts: sections about prompts and chat, of `readme_text`.
    """
    own = format.readme(manifest) if format.readme else ""
    programs = [part for part in (runtime_code(manifest), own) if part]
    if programs:
        programs.insert(0, "Every program here runs inside this directory.")
    else:
        programs = [f"What runs the format {format.name} comes with whoever wrote its exporter."]
    driving = format.driving or _driving
    parts = [
        f"# {manifest.get('title') or manifest['name']}",
        _summary(manifest, parity),
        "## Signatures\n\n" + _signatures(manifest),
        "## How to drive it\n\n" + driving(manifest),
        *texts,
        "## Verified\n\n" + _figures(manifest, parity),
        "## Run it",
        *programs,
    ]
    return "\n\n".join(parts) + "\n"


def _summary(manifest: dict, parity: dict) -> str:
    limit = manifest["max_length"]
    length = f"at most {limit:,} tokens" if limit else "texts of any length"
    if not any("token_ids" in signature["inputs"] for signature in manifest["signatures"].values()):
        length = " and ".join(media_sizes(manifest["processing"]))
    lines = [
        f"A `{manifest['format']}` bundle ({manifest['precision']}) that "
        f"{manifest['does']}: "
        f"{manifest['parameters']:,} parameters, {parity.get('bytes', 0):,} bytes, {length}.",
        f"Written by modelzoo {manifest['modelzoo']} from the recipe with the digest "
        f"`{manifest['recipe_digest'][:16]}`, which `recipe.lock.toml` holds. `manifest.json` has "
        "the sha256 of every file, `parity.json` all that was measured.",
    ]
    if "vocabulary" in manifest:
        lines.append(_vocabulary(manifest["vocabulary"]))
    if manifest["labels"]:
        lines.append("Labels, in the order of the logits: " + ", ".join(manifest["labels"]) + ".")
    facts = card_rows(manifest.get("source") or {})
    rows = [f"| {key} | {value} |" for key, value in facts.items()]
    if rows:
        lines.append("\n".join(["| | |", "|---|---|", *rows]))
    return "\n\n".join(lines)


def _vocabulary(cut: dict) -> str:
    return (
        f"Its vocabulary was cut from {cut['of']:,} to {cut['tokens']:,} tokens. The texts of "
        f"`{cut['corpus']}` (sha256 `{cut['sha256'][:16]}`) have the pieces that they had before; "
        "other texts are read and written whole, some in more tokens."
    )


def _signatures(manifest: dict) -> str:
    rows = ["| signature | inputs | outputs |", "|---|---|---|"]
    for name, signature in manifest["signatures"].items():
        inputs, outputs = _tensors(signature["inputs"]), _tensors(signature["outputs"])
        rows.append(f"| `{name}` | {inputs} | {outputs} |")
    return "\n".join(rows)


def _tensors(tensors: dict) -> str:
    """Tensors that only differ in a layer's number are one entry."""
    groups: dict[tuple, list[str]] = {}
    for name in sorted(tensors, key=in_order):
        tensor = tensors[name]
        stem, _, number = name.rpartition("_")
        key = stem if stem and number.isdigit() else name
        groups.setdefault((key, tuple(tensor["shape"]), tensor["dtype"]), []).append(name)
    return ", ".join(
        f"`{names[0]}`{f' … `{names[-1]}`' if len(names) > 1 else ''} {dtype} {list(shape)}"
        for (_, shape, dtype), names in groups.items()
    )


def _driving(manifest: dict) -> str:
    signatures, tokenizer = manifest["signatures"], manifest["tokenizer"]
    lines = []
    if tokenizer:
        stated = sorted(tokenizer["roles"].items())
        roles = ", ".join(f"{role} {token}" for role, token in stated if token is not None)
        lines.append(
            "- `tokenizer.json` (Hugging Face `tokenizers`) turns text into `token_ids`; control "
            f"tokens: {roles or 'none'}."
        )
    if "decode" in signatures:
        lengths = sorted(
            {
                signature["inputs"]["token_ids"]["shape"][1]
                for name, signature in signatures.items()
                if name.startswith(("prefill", "decode")) and "token_ids" in signature["inputs"]
            }
        )
        chunks = " or ".join(map(str, lengths[1:] or lengths))
        windows = any(name.startswith("decode_") for name in signatures)
        lines += [
            "- What is input and output of a signature under one name is state. It begins as "
            "zeros. Pass one buffer as both: it is updated in place.",
            f"- `prefill_*` reads all tokens of the prompt but the last, {chunks} a call, at "
            "consecutive `positions` that start at 0; what is left over in the last call gets "
            "the token id -1. Then `decode` takes one token at its position, and gives the logits "
            "of the next.",
        ]
        if any(name.startswith("verify_") for name in signatures):
            lines.append(
                "- `verify_*` is `decode` of several tokens at once, with the logits after each: "
                "to check tokens that were guessed. What is left over gets the id -1. A wrong "
                "guess needs no undoing: the next call writes over it."
            )
        if any(name.startswith("score_") for name in signatures):
            lines.append(
                "- `score_*` reads several tokens at once, and gives two numbers for each of "
                "`target_ids`, the tokens that follow: its log-probability, and by how much that "
                "of the likeliest token is greater (0: it is the likeliest)."
            )
        if windows:
            lines.append(
                "- The signatures whose names end with another number do the same over smaller "
                "caches, and so in less time. Slot equals position: begin with the smallest, and "
                "when a text outgrows it copy its slots to the front of the next larger one."
            )
        if manifest["max_length"]:
            lines.append(
                f"- Positions end at {manifest['max_length'] - 1}. A call that would pass the end "
                "must start earlier and read the same tokens again; the device does not check."
            )
    if "caption" in manifest["processing"]:
        lines += _captions(signatures, manifest["processing"]["caption"])
    elif "token_ids" in signatures.get("encode", {}).get("inputs", {}):
        lines.append(
            "- `encode` reads the source once (with the eos token after it, padded with the pad "
            "token, `padding_mask` 1 for tokens and 0 for padding). Its outputs and its "
            "`padding_mask` are inputs of the other signatures."
        )
        if "token_ids" in signatures.get("encode_image", {}).get("inputs", {}):
            lines.append(
                "- `encode_image` and `encode_video` read an image or a video before the source, "
                "each in the place of `encode`. A video of one frame is an image."
            )
        if "start_token" in manifest["processing"]:
            lines.append(f"- The target begins with token {manifest['processing']['start_token']}.")
    lines += media_lines(signatures, manifest["processing"])
    if any(
        name.startswith(("serve", "embed", "encode_text")) and "token_ids" in signature["inputs"]
        for name, signature in signatures.items()
    ):
        lines.append(
            "- `token_ids` are [CLS] text [SEP], padded with the pad token; `padding_mask` is 1 "
            "for tokens and 0 for padding; `segment_ids`, where there are any, are 0 for the first "
            "text and 1 for a second one with its [SEP]."
        )
    if "answering" in manifest["processing"]:
        lines.append(
            "- The question is the first text and its context the second. `start_logits` and "
            "`end_logits` rate each token as the first and the last of the answer: it is the span "
            f"of at most {manifest['processing']['answering']['max_answer']} tokens of the context "
            "with the largest sum. Place 0 of both stands for no answer."
        )
    return "\n".join(lines) or "- See the shapes above."


def _captions(signatures: dict, frame: dict) -> list[str]:
    """What stands around an image and a prompt; see `runtime.abilities.captioning.frame_of`."""
    before, between, after = (frame[key] for key in ("before", "between", "after"))
    if not frame["image_tokens"]:
        return [
            "- `encode` looks at the image once; its outputs are inputs of the other signatures. A "
            f"prompt's tokens stand between {between} and {after}."
        ]
    name = next(key for key in signatures if key.startswith("prefill_image"))
    return [
        f"- `{name}` writes the image into the state, at {frame['image_tokens']} consecutive "
        f"`positions` from {len(before)} on. Before it go the tokens {before}; after it "
        f"{between}, the prompt's tokens, and {after}. Nothing may be written to its positions "
        "again."
    ]


def worst_output(outputs: dict) -> str:
    """The output of a signature that is nearest to what is allowed."""
    return max(outputs, key=lambda key: outputs[key]["max_abs_error"] / outputs[key]["allowed"])


def _figures(manifest: dict, parity: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in parity["versions"].items())
    rows = ["| signature | output | max error | allowed | cosine |", "|---|---|---|---|---|"]
    for name, outputs in parity["signatures"].items():
        if not outputs:  # all state, which a quantized model may hold in numbers of its own
            continue
        worst = worst_output(outputs)
        named = [key for key in ("logits", "nsp_logits", "embedding") if key in outputs]
        for key in dict.fromkeys([*named, worst]):
            figure = outputs[key]
            rows.append(
                f"| `{name}` | `{key}` | {figure['max_abs_error']:.2g} | {figure['allowed']:.2g} "
                f"| {figure['cosine']:.7f} |"
            )
    text = f"Against the Keras model, on the device runtime ({versions}):\n\n" + "\n".join(rows)
    if "litert_lm" in parity:
        text += "\n\n" + _litert_lm(parity["litert_lm"])
    generation = parity.get("generation")
    if generation:
        errors = {k: v for k, v in generation.items() if isinstance(v, dict) and "allowed" in v}
        said = ", ".join(f"{key} {value['max_abs_error']:.2g}" for key, value in errors.items())
        text += f"\n\nLogits of {generation['positions']} positions through the state: {said}."
        greedy = generation.get("greedy")
        if greedy:
            text += (
                f" Greedy text: {greedy['equal']} of {greedy['compared']} tokens are Keras'"
                + (f", {greedy['ties']} were ties" if greedy["ties"] else "")
                + "."
            )
    held_out = parity.get("held_out")
    if held_out:
        text += "".join(
            f"\n\n{held_out_text(figures)}" for figures in (held_out, *held_out.get("others", ()))
        )
    return text


def _litert_lm(figures: dict) -> str:
    """What LiteRT-LM itself wrote, compared with Keras."""
    text = (
        f"LiteRT-LM {figures['version']} ran this file: {figures['equal']} of {figures['texts']} "
        "greedy texts are Keras', letter by letter"
    )
    chat = figures.get("chat")
    if chat:
        same = "Keras' too" if chat["reply"] == chat["keras"] else f"{chat['keras']!r} in Keras"
        text += f"; its reply to {chat['question']!r} was {chat['reply']!r}, {same}"
    return text + "."
