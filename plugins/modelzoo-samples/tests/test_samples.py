"""Each sample answers as its card says, and the card says what it is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from modelzoo import plugins
from modelzoo.cli import main
from modelzoo.runtime import load
from modelzoo.testing import plugin_checks

PROJECT = Path(__file__).parent.parent
BUNDLES = PROJECT / "modelzoo_samples" / "bundles"
NAMES = sorted(folder.name for folder in BUNDLES.iterdir())


@pytest.mark.parametrize("check", plugin_checks("samples", project=PROJECT), ids=str)
def test_modelzoos_checks_hold(check):
    check()


@pytest.fixture(scope="module")
def models():
    return {name: load(f"samples/{name}") for name in NAMES}


def test_sentiment_knows_good_from_bad(models):
    texts = ["a fine film", "I love it", "This is terrible.", "What a waste of two hours"]
    answers = [answer[0][0] for answer in models["sentiment"].classify(texts, top=1)]
    assert answers == ["positive", "positive", "negative", "negative"]


@pytest.mark.parametrize(
    ("query", "emoji"),
    [
        ("a red apple", "🍎 red apple"),
        ("happy birthday", "🎂 birthday cake"),
        ("a slice of pizza", "🍕 pizza"),
        ("红苹果", "🍎 red apple"),
        ("music", "🎺 trumpet"),
        ("coffee", "⚰️ coffin"),  # it reads letters, not minds
    ],
)
def test_emoji_finds_the_nearest(models, query, emoji):
    assert models["emoji"].nearest(query, top=1)[0][0] == emoji


def test_emoji_answers_on_the_command_line(capsys):
    assert main(["run", "samples/emoji", "a red apple", "--top", "1"]) == 0
    assert re.fullmatch(r"0\.9\d+  🍎 red apple\n", capsys.readouterr().out)


def test_the_bible_goes_on_in_words(models):
    said = models["bible"].generate("In the beginning", max_new_tokens=30, temperature=0)
    words = re.findall(r"[A-Za-z']+", said)
    assert len(words) > 15 and {"the", "of"} & {*words}


@pytest.mark.parametrize(("beginning", "seed"), [("明月", 1), ("春风", 2), ("白日依山", 5)])
def test_poems_have_four_lines_of_one_length(models, beginning, seed):
    said = beginning + models["poems"].generate(beginning, max_new_tokens=60, seed=seed)
    lines = [line for line in re.split("[，。？！；\n]", said) if line]
    assert len(lines) == 4 and {len(line) for line in lines} in ({5}, {7})
    assert said == beginning + models["poems"].generate(beginning, max_new_tokens=60, seed=seed)


def test_captions_name_what_they_are_given(models):
    white = np.full((64, 64, 3), 255, np.uint8)
    assert re.fullmatch(r"[\w\W]{2,60}", models["captions"].caption(white, max_new_tokens=16))


def test_a_run_needs_no_keras():
    code = (
        "import sys\nfrom modelzoo.runtime import load\n"
        "print(load('samples/sentiment').classify('a fine film', top=1)[0][0])\n"
        "print({'keras', 'tensorflow'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "positive\nset()\n", done.stderr


# === Cards ===


def test_all_of_it_is_small():
    sizes = {path: path.stat().st_size for path in BUNDLES.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 12_000_000
    assert max(sizes.values()) < 4_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_card_has_data_licence_and_the_figures_of_its_json(name):
    card = (BUNDLES / name / "README.md").read_text("utf-8")
    facts = json.loads((BUNDLES / name / "figures.json").read_text("utf-8"))
    assert facts["figures"] and f"`{facts['command']}`" in card
    for one in facts["data"]:
        assert one["from"] in card and one["licence"] in card
    numbers = [value for row in facts["figures"] for value in row.values()]
    for number in (value for value in numbers if isinstance(value, float)):
        assert re.search(rf"\| {number:,.1f}0? |\| {number} |\| {number:,.2f} ", card), number
    (command,) = re.findall(r"```bash\n(modelzoo run .*)\n```", card)
    assert command.startswith(f"modelzoo run samples/{name} ")


@pytest.mark.parametrize("name", NAMES)
def test_no_place_of_the_machine_that_made_it_is_in_a_bundle(name):
    for path in (BUNDLES / name).iterdir():
        assert not re.search(rb"(?<![\w.])/(tmp|home|root|work)/", path.read_bytes()), path


def test_the_readme_names_every_bundle():
    text = (PROJECT / "README.md").read_text("utf-8")
    (plugin,) = [p for p in plugins.discover() if p.namespace == "samples"]
    assert {*re.findall(r"^\| `(samples/\w+)`", text, re.MULTILINE)} == {*plugin.bundles()}
