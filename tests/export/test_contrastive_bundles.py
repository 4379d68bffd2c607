"""Bundles of contrastive models: each tower on its own, front end inside, as Keras answers."""

from __future__ import annotations

import numpy as np
import pytest

import modelzoo
from modelzoo.runtime import load

pytestmark = pytest.mark.slow

WORDS = ["a red square", "a green dot", "one loud tone", "two soft tones"]
COMMON = {
    "export.max_length": 24,
    "train.length": 24,
    "train.batch_size": 4,
    "train.warmup_steps": 0,
    "embed_dim": 16,
}
TEXT = {"vocab_size": 600, "num_layers": 1, "hidden_dim": 32, "num_heads": 2, "max_length": 24}
BIND = {
    "image.model": {"image_size": 16, "widths": [8, 16]},
    "audio.model": {"num_columns": 32, "num_mels": 32, "num_layers": 1, "hidden_dim": 32},
}
HTSAT = {
    "audio.model": {
        "width": 16,
        "depths": [2, 2],
        "num_heads": [2, 2],
        "side": 64,
        "num_mels": 32,
        "window": 4,
        "sample_rate": 8000,
        "frame_length": 256,
        "hop": 80,
        "high_hz": 3800.0,
        "seconds": 1.0,
    }
}


def changes(parts: dict) -> dict:
    found = dict(COMMON)
    for part, values in {**parts, "text.model": TEXT}.items():
        found |= {f"model.{part}.{key}": value for key, value in values.items()}
    return found


def examples(kinds) -> list[dict]:
    rng = np.random.default_rng(0)
    found = []
    for text in WORDS:
        one = {
            "text": text,
            "image": rng.integers(0, 256, (16, 16, 3)).astype("uint8"),
            "audio": rng.normal(0, 0.2, 4000).astype("float32"),
        }
        found.append({kind: one[kind] for kind in kinds})
    return found


@pytest.mark.parametrize(
    ("name", "parts", "kinds"),
    [
        ("bind-tiny", BIND, ("image", "text", "audio")),
        ("clap-htsat-tiny", HTSAT, ("audio", "text")),
    ],
)
def test_each_tower_answers_on_a_device_as_in_keras(tmp_path, name, parts, kinds):
    model = modelzoo.build(name, **changes(parts))
    rows = examples(kinds)
    model.fit(modelzoo.dataset(model, rows), epochs=1, verbose=0)
    modelzoo.export(model, tmp_path / "bundle", quantize="float32")
    bundle = load(tmp_path / "bundle")
    for kind in kinds:
        ours = getattr(model, f"embed_{kind}")(rows[0][kind])
        theirs = getattr(bundle, f"embed_{kind}")(rows[0][kind])
        assert np.linalg.norm(theirs) == pytest.approx(1.0, abs=1e-4)
        np.testing.assert_allclose(theirs, ours, atol=2e-4)
    scores = bundle.zero_shot(rows[0][kinds[0]], WORDS, kind=kinds[0], template="{}")
    assert sum(probability for _, probability in scores) == pytest.approx(1.0, abs=1e-6)
