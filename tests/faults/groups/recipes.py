"""Recipes: `--set`, recipe files, lock files, and where weights come from."""

from __future__ import annotations

import tomllib
from pathlib import Path
from random import Random

from modelzoo import registry
from modelzoo.recipe import from_values, lock_text, parse_set, read_lock
from modelzoo.recipe.recipe import Recipe
from modelzoo.recipe.schema import validate_against
from modelzoo.recipe.train_options import train_options
from modelzoo.weights.hub_card import hub_card
from modelzoo.weights.origin import sentence
from modelzoo.weights.provenance import card_of_folder, front_matter
from tests.faults import mutations
from tests.faults.group import Group
from tests.faults.groups import good

_KEYS = ("num_layers", "hidden_dim", "dropout", "activation", "norm", "positions", "train.steps")
_KEYS += ("train.learning_rate", "task", "architecture", "task_options.x", "tokenizer.roles")
_KEYS += ("parameters", "summary", "model", "train", "extends", "export.format", "a.b.c.d", "")
_TEXTS = ("1", "6", "1e-3", "gelu", "true", "[1, 2]", "{a = 1}", "nan", "inf", "0x10", "1_000")
_TEXTS += ("1979-05-27", "[[1]]", '"x"', "'y'", "1\nb = 2", "{x = {y = [1, {z = 2}]}}", "-0", "=")
_TEXTS += ("\ud800", "\0", "9" * 5000, "0x" + "f" * 6000, "-" + "9" * 4301, "[" * 400, "é漢😀")
_TEXTS += ("[" * 3000, "[" * 100_000, '"""', "{", "#", "1 # x", "{a=" * 500, "", " ", "1e999")
_RECIPES = ("gpt-tiny", "bert-tiny", "t5-tiny", "vit-tiny", "whisper-tiny", "clip-vit-b32")


def _used(recipe: Recipe) -> None:
    """What every command does with a recipe before anything is built."""
    validate_against(recipe, registry.architecture(recipe.architecture))
    if recipe.task:
        validate_against(recipe, registry.task(recipe.task), "task_options")
    train_options(recipe)
    assert recipe.digest and lock_text(recipe)


def _make_set(random: Random, folder: Path) -> tuple[str, list[str]]:
    pairs = []
    for _ in range(random.choice((1, 1, 2))):
        key = random.choice((*_KEYS, random.choice(mutations.ODD_TEXTS)))
        text = random.choice((*_TEXTS, str(mutations.odd_value(random))))
        if mutations.chance(random, 0.2):
            at = random.randrange(len(text) + 1)
            text = text[:at] + random.choice(_TEXTS) + text[at:]
        pairs.append(f"{key}={text}" if random.random() > 0.03 else key)
    return random.choice(_RECIPES), pairs


def _use_set(made: tuple[str, list[str]]) -> None:
    name, pairs = made
    _used(registry.recipe(name, parse_set(pairs)))


def _values(random: Random) -> dict:
    name = random.choice(("gpt", "bert", "t5", "vit", "whisper", "clip", "llama", "classifier"))
    values = tomllib.loads(good.files(name)["recipe.lock.toml"].decode())
    return values


def _make_lock(random: Random, folder: Path) -> Path:
    values = _values(random)
    kind = random.randrange(4)
    if kind == 0:  # damaged values under the digest that they have
        lock = values.pop("lock")
        damaged = mutations.damaged_value(random, values)
        try:
            lock["digest"] = from_values(damaged, name=lock["name"]).digest
        except Exception:  # what no recipe can hold has none
            lock["digest"] = "0" * 64
        values = {**damaged, "lock": lock}
    elif kind < 3:
        values["lock"] = mutations.damaged_value(random, values["lock"])
        values = mutations.damaged_value(random, values) if random.random() < 0.3 else values
    text = mutations.toml(values).encode()
    content = mutations.damaged_text(random, text) if kind == 3 else text
    return good.write(folder, {"recipe.lock.toml": content})


def _use_lock(folder: Path) -> None:
    _used(read_lock(folder)[0])


def _make_toml(random: Random, folder: Path) -> Path:
    values = _values(random)
    values.pop("lock")
    if mutations.chance(random, 0.2):
        values = {"extends": random.choice((*_RECIPES, "x", "", "r", "./r.toml", "../r"))}
        values["model"] = {"num_layers": 2, "image": {"recipe": random.choice((*_RECIPES, "r"))}}
    if random.random() < 0.75:
        values = mutations.damaged_value(random, values)
    text = mutations.toml(values).encode()
    if mutations.chance(random, 0.35):
        depth = random.choice((400, 3000, 100_000))
        extra = (b"x = " + b"[" * depth, b"a." * depth + b"b = 1", b"[" + b"a." * depth + b"b]")
        extra += (b"x = " + b"9" * 5000, b"x = 0x" + b"f" * 9000, b"x = '''", b"[[model]]\n")
        text = random.choice((mutations.damaged_text(random, text), text + random.choice(extra)))
    return good.write(folder, {"r.toml": text}) / "r.toml"


def _use_toml(path: Path) -> None:
    _used(registry.recipe(str(path)))


# === Where weights come from ===

_FIGURES = {"loss": 1.5, "accuracy": 1}
_TRAINING = {"steps": 4, "examples": 9, "seed": 0, "data": "x.txt", "figures": _FIGURES}
_SOURCE = {"weights": "trained", "place": "hf://acme/tiny", "revision": "0" * 40, "licence": "mit"}
_SOURCE |= {"base_model": "acme/large", "name": "Tiny", "training": _TRAINING}
_DOES = {"does": "continues a text", "pipeline_tag": "text-generation"}
_CARD = b"---\nlicense: mit\nbase_model:\n  - acme/large\nlanguage: en\n---\n\n# Tiny\n"


def _make_source(random: Random, folder: Path) -> Path:
    values = tomllib.loads(good.files("gpt")["recipe.lock.toml"].decode())
    source = mutations.damaged_value(random, _SOURCE)
    values["lock"]["format_version"] = 2 if random.random() < 0.9 else random.choice((1, 3, True))
    if not mutations.chance(random):
        values["lock"]["format_version"] = 2
    if mutations.chance(random, 0.1):
        source = mutations.odd_value(random)
    text = mutations.toml({**values, "source": source}).encode()
    if mutations.chance(random, 0.1):
        text = mutations.damaged_text(random, text)
    card = mutations.damaged_text(random, _CARD) if random.random() < 0.5 else _CARD
    return good.write(folder, {"recipe.lock.toml": text, "README.md": card})


def _use_source(folder: Path) -> None:
    card = card_of_folder(folder)
    assert all(isinstance(value, str) for value in card.values())
    recipe, lock = read_lock(folder)
    table = lock.get("source", {})
    assert sentence(table) or not table.get("weights")
    for text in (hub_card(recipe, table, title="x", library="y", does=_DOES), lock_text(recipe)):
        text.encode("utf-8")
    assert lock_text(recipe, source=table)
    assert front_matter(hub_card(recipe, card, title="x", library="y", does=_DOES))


GROUPS = (
    Group("set", "`--set KEY=VALUE`", _make_set, _use_set, 400, 30, good.keras_side),
    Group("lock", "recipe.lock.toml", _make_lock, _use_lock, 500, 30, good.keras_side),
    Group("source", "[source] and cards", _make_source, _use_source, 400, 20, good.keras_side),
    Group("toml", "recipe TOML", _make_toml, _use_toml, 900, 30, good.keras_side),
)
