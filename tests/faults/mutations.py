"""Damage: of bytes, of values, and of the texts that values are written as."""

from __future__ import annotations

import copy
import functools
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.outcome import MARK

ODD_NUMBERS = (0, 1, -1, 2, 3, 127, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32, 2**63 - 1)
ODD_NUMBERS += (2**63, 2**64, 10**18, 10**30, -(2**31), -(10**18), 10**9, 10**6)
ODD_FLOATS = (0.5, -0.0, 1e-300, 1e308, -1e308, float("nan"), float("inf"), -float("inf"), 1.0)
ODD_TEXTS = ("", " ", "x", "é漢😀", "\ud800", "\0", "a\nb", "../../x", "/etc/passwd", "a/b", "%s{}")
ODD_TEXTS += ("x" * 10_000, "true", "1e999", "-1", "[UNK]", "<s>", "\u202e", "None", "a:b", "\\")


_on = True


@contextmanager
def switched(on: bool) -> Iterator[None]:
    """Damage done in the block, or left undone: then a group must read what it makes."""
    global _on
    before, _on = _on, on
    try:
        yield
    finally:
        _on = before


def chance(random: Random, probability: float = 1.0) -> bool:
    """Whether to do damage of a group's own; never where damage is off."""
    return _on and (probability == 1 or random.random() < probability)


def _or(whole: Callable) -> Callable:
    """What a function of this module gives where damage is off: `whole(value)`."""

    def wrap(damaged: Callable) -> Callable:
        @functools.wraps(damaged)
        def either(random: Random, value: Any, *args: Any, **options: Any) -> Any:
            return damaged(random, value, *args, **options) if _on else whole(value)

        return either

    return wrap


def odd_value(random: Random, depth: int = 0) -> Any:
    """A value that is probably not what a reader waits for."""
    kind = random.randrange(10)
    if kind < 3:
        return random.choice(ODD_NUMBERS)
    if kind == 3:
        return random.choice(ODD_FLOATS)
    if kind < 6:
        return random.choice(ODD_TEXTS)
    if kind == 6:
        return random.choice((None, True, False))
    if depth > 2:
        return random.choice(([], {}))
    if kind == 7:
        return [odd_value(random, depth + 1) for _ in range(random.choice((0, 1, 2, 3, 50)))]
    if kind == 8:
        return {
            random.choice(ODD_TEXTS): odd_value(random, depth + 1)
            for _ in range(random.choice((0, 1, 2)))
        }
    return nested(random.choice((5, 60, 300)))


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all values inside a value."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key in value:
            found += places(value[key], (*path, key))
    elif isinstance(value, list):
        for n in range(min(len(value), 40)):
            found += places(value[n], (*path, n))
    return found


@_or(copy.deepcopy)
def damaged_value(random: Random, value: Any, hits: int | None = None) -> Any:
    """A copy with one to three places changed, added or taken away; a table stays one."""
    value = copy.deepcopy(value)
    for _ in range(hits or random.choice((1, 1, 1, 2, 3))):
        paths = places(value)
        if not paths and not isinstance(value, dict):
            return odd_value(random)
        if not paths:
            value[random.choice(ODD_TEXTS)] = odd_value(random)
            continue
        # A long list, of a vocabulary for one, must not take all the hits.
        path = min(random.sample(paths, min(3, len(paths))), key=len)
        holder = value
        for step in path[:-1]:
            holder = holder[step]
        _hit(random, holder, path[-1])
    return value


def _hit(random: Random, holder: Any, key: Any) -> None:
    old = holder[key]
    kind = random.randrange(9)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[random.choice(ODD_TEXTS)] = holder.pop(key)
    elif kind == 2:
        holder[key] = [old]
    elif kind == 3 and isinstance(holder, dict) and len(holder) > 1:
        other = random.choice([name for name in holder if name != key])
        holder[key], holder[other] = holder[other], old
    elif kind == 4 and isinstance(old, int | float):
        holder[key] = random.choice((-old, old + 1, old * 1000, old / 7, str(old), bool(old)))
    elif kind == 4 and isinstance(old, str):
        holder[key] = random.choice((old.upper(), old + "x", old[:-1], old * 50, f" {old}"))
    elif kind == 4 and isinstance(old, list):
        holder[key] = random.choice((old[:-1], old * 3, old[::-1], {str(n): n for n in range(3)}))
    elif kind == 5 and isinstance(holder, dict):
        holder[random.choice(ODD_TEXTS)] = odd_value(random)
    else:
        holder[key] = odd_value(random)


@_or(lambda value: json.dumps(value).encode())
def damaged_json(random: Random, value: Any) -> bytes:
    """A value as JSON: mostly of other content, at times of a form that is none."""
    if random.random() < 0.01:
        return json.dumps(odd_value(random)).encode()
    if random.random() > 0.25:
        return json.dumps(damaged_value(random, value)).encode()
    return damaged_text(random, json.dumps(value, indent=random.choice((None, 1))).encode())


@_or(bytes)
def damaged_text(random: Random, text: bytes) -> bytes:
    """Text whose form is damaged: nesting, digits, encodings, and as bytes are."""
    kind = random.randrange(9)
    depth = random.choice((400, 3000, 100_000))
    at = random.randrange(len(text) + 1)
    if kind == 0:
        return text[:at] + b"[" * depth + text[at:]
    if kind == 1:
        return b'{"a":' * depth + b"1" + b"}" * depth
    if kind == 2:
        return text[:at] + b"9" * 5000 + text[at:]
    if kind == 3:
        return random.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\0")) + text
    if kind == 4:
        return text.decode("utf-8", "replace").encode(random.choice(("utf-16", "utf-32")))
    if kind == 5:
        return random.choice((b"", b" ", b"null", b"[]", b"{}", b"0", b'"x"', b"NaN", b"[[]]"))
    return damaged_bytes(random, text)


@_or(bytes)
def damaged_bytes(random: Random, data: bytes, head: int = 256) -> bytes:
    """Bytes with flips, lies, holes, swapped parts or a cut; half of the hits in the `head`."""
    content = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 16))):
        _hit_bytes(random, content, head)
    return bytes(content)


def _hit_bytes(random: Random, content: bytearray, head: int) -> None:
    size = len(content)
    if not size:
        content += random.randbytes(random.choice((1, 16, 300)))
        return
    at = random.randrange(min(size, head) if random.random() < 0.5 else size)
    length = random.choice((1, 2, 4, 8, 16, 64, 1000))
    kind = random.randrange(10)
    if kind < 3:
        content[at] ^= 1 << random.randrange(8)
    elif kind < 6:  # a number that lies
        code = random.choice(("<B", "<H", ">H", "<I", ">I", "<Q", ">Q", "<I", "<i"))
        width = struct.calcsize(code)
        at -= at % random.choice((1, width))
        low = -(1 << (8 * width - 1)) if code[1] == "i" else 0
        high = (1 << (8 * width - (code[1] == "i"))) - 1
        number = min(max(random.choice(ODD_NUMBERS), low), high)
        content[at : at + width] = struct.pack(code, number)
    elif kind == 6:
        del content[at : at + length]
    elif kind == 7:
        filler = random.choice((b"\0", b"\xff", b"A")) * length
        content[at : at + length * random.randrange(2)] = filler
    elif kind == 8:
        other = random.randrange(size)
        content[at : at + length], content[other : other + length] = (
            content[other : other + length],
            content[at : at + length],
        )
    else:
        del content[random.choice((0, 1, 8, size // 2, at, size - 1)) :]


def pickle_that_runs(folder: Path) -> bytes:
    """A pickle that leaves a mark in the folder of the case when it is loaded."""
    return pickle.dumps(_Runs(str(folder / MARK)))


class _Runs:
    def __init__(self, mark: str):
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.mark,)


@_or(lambda array: _saved(array))
def damaged_npy(random: Random, array: Any, folder: Path) -> bytes:
    """An .npy file whose header lies, or whose bytes are damaged, or that holds a pickle."""
    kind = random.randrange(6)
    if kind == 0:
        head = {"descr": "|O", "fortran_order": False, "shape": (1,)}
        return _npy(repr(head)) + pickle_that_runs(folder)
    if kind < 3:
        return damaged_bytes(random, _saved(array), head=128)
    head = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
    key = random.choice(list(head))
    shape = [*array.shape]
    if shape:
        shape[random.randrange(len(shape))] = random.choice(ODD_NUMBERS)
    choices = {
        "descr": ("<f8", ">i2", "|S1000000", "<U4", "|V7", "|O", "<M8[s]", "<f2", "|b1", "<c16"),
        "fortran_order": (True, 1, None),
        "shape": (tuple(shape), (), (0,), (2**62, 2**62), "x", None, (1,) * 70, (True,)),
    }
    head[key] = random.choice(choices[key])
    text = repr(head)
    if random.random() < 0.3:
        text = random.choice(
            (text[:-1], "(" * 500, "{" * 90, "9" * 5000, text + ", (", "lambda: 0")
        )
    return _npy(text) + _saved(array)[128:]


def _npy(head: str) -> bytes:
    text = head.encode("latin-1", "replace") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", min(len(text), 65535)) + text


@_or(lambda arrays: _zipped({name: _saved(array) for name, array in arrays.items()}))
def damaged_npz(random: Random, arrays: dict[str, Any], folder: Path) -> bytes:
    """An .npz archive with a damaged member, another set of members, or damaged bytes."""
    members = {name: _saved(array) for name, array in arrays.items()}
    victim, kind = random.choice(list(arrays)), random.randrange(5)
    if kind == 0:
        members[victim] = damaged_npy(random, arrays[victim], folder)
    elif kind == 1:
        del members[victim]
    elif kind == 2:
        whole = members[victim]
        members[victim] = random.choice((b"", b"text", whole[:20], pickle_that_runs(folder)))
    elif kind == 3:
        members[random.choice(("more", "../x", "x", ""))] = members[victim]
    data = _zipped(members, random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return damaged_bytes(random, data) if kind == 4 else data


def _saved(array: Any) -> bytes:
    import numpy as np

    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return file.getvalue()


# === TOML ===


def toml(values: dict) -> str:
    """Values as TOML, as far as it can say them: what a recipe would never hold, too."""
    try:
        return "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in values.items())
    except RecursionError:  # nested lists within nested lists
        return "x = " + "[" * 1000


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items())
        return "{" + inner + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps("" if value is None else value)
