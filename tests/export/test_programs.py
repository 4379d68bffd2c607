"""The programs in a bundle's README."""

from __future__ import annotations

import pytest

from modelzoo.exporting.formats.tflite_programs import programs


def manifest(cache: str) -> dict:
    state = {"kv_cache_k_0": {"shape": [1, 2, 8, 4], "dtype": cache}}
    inputs = {"token_ids": {"shape": [1, 1], "dtype": "int32"}, **state}
    outputs = {"logits": {"shape": [1, 1, 9], "dtype": "float32"}, **state}
    signatures = {"decode": {"inputs": inputs, "outputs": outputs}}
    return {"model": "model.tflite", "signatures": signatures}


@pytest.mark.parametrize("cache", ["float32", "int8"])
def test_a_browser_gets_a_program_or_the_reason_why_not(cache):
    text = programs(manifest(cache))
    assert all(f"### {name}" in text for name in ("Kotlin", "Swift", "C++", "JavaScript"))
    assert ("LiteRT.js cannot load this bundle: its cache is int8" in text) == (cache == "int8")
    assert ("@litertjs/core" in text) == (cache == "float32")
