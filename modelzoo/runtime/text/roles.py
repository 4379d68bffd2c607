"""Which token does what: pad, bos, eos, unk, cls, sep, mask, whatever a vocabulary calls them."""

from __future__ import annotations

from collections.abc import Mapping

from modelzoo.errors import TokenizerError, nearest, shown

__all__ = ["WELL_KNOWN", "find_roles", "missing_role"]

# The first name that the vocabulary holds gets the role. A lone "<|endoftext|>" is all three.
WELL_KNOWN = {
    "pad": ("<pad>", "[PAD]", "<|pad|>", "<|padding|>", "<|endoftext|>"),
    "bos": ("<s>", "<bos>", "[BOS]", "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>"),
    "eos": ("</s>", "<eos>", "[EOS]", "<|end_of_text|>", "<|endoftext|>"),
    "unk": ("<unk>", "[UNK]", "<|unk|>"),
    "cls": ("[CLS]", "<cls>", "<s>"),
    "sep": ("[SEP]", "<sep>", "</s>"),
    "mask": ("[MASK]", "<mask>"),
    "start": (),  # what a decoder's target begins with, where that is not pad
}


def find_roles(
    vocabulary: Mapping[str, int], given: Mapping[str, str | int | None] | None = None
) -> dict[str, int]:
    """role -> id, by the well-known names; `given` names (or ids) come first.

    A given role of "" or `None` is one that no token has, whatever the names say.

    Raises:
        TokenizerError: a given role or token does not exist.
    """
    if not isinstance(given, Mapping | None):
        raise TokenizerError(f"roles must be a table of role and token, not {shown(given)}")
    roles = {}
    for role, names in WELL_KNOWN.items():
        found = [vocabulary[name] for name in names if name in vocabulary]
        if found:
            roles[role] = found[0]
    ids = set(vocabulary.values()) if given else set()
    for role, token in (given or {}).items():
        if role not in WELL_KNOWN:
            raise TokenizerError(
                f"no such role: {role}; the roles are {', '.join(WELL_KNOWN)}",
                did_you_mean=nearest(role, WELL_KNOWN),
            )
        if token is None or token == "":
            roles.pop(role, None)
            continue
        if not isinstance(token, str | int) or isinstance(token, bool):
            raise TokenizerError(f"the {role} token must be a token or its id, not {shown(token)}")
        id = vocabulary.get(token) if isinstance(token, str) else int(token)
        if id not in ids:
            raise TokenizerError(
                f"the {role} token {shown(token)} is not in the vocabulary",
                did_you_mean=nearest(str(token), vocabulary),
            )
        roles[role] = id
    return roles


def missing_role(role: str) -> TokenizerError:
    """The error that a tokenizer has no token for a role."""
    wanted = ", ".join(WELL_KNOWN.get(role, ()))
    return TokenizerError(
        f"this tokenizer has no {role} token" + (f" (one of {wanted})" if wanted else ""),
        did_you_mean=None if role in WELL_KNOWN else nearest(role, WELL_KNOWN),
        next_step=f'name it: Tokenizer.load(path, roles={{"{role}": "..."}})',
    )
