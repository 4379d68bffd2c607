"""The program of docs/devices.md in JavaScript writes what the Python runtime writes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

import modelzoo
from modelzoo.runtime import load
from tests import small
from tests.core import randomise
from tests.plugin_site import ROOT

pytestmark = pytest.mark.slow
PACKAGES = ("@litertjs/core@2.5.3", "@huggingface/tokenizers@0.2.0")


def program() -> str:
    page = (ROOT / "docs" / "devices.md").read_text("utf-8")
    return re.search(r"^```javascript\n(.*?)^```$", page, re.DOTALL | re.M)[1]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """Gives the text that the program writes."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    (folder / "generate.mjs").write_text(program(), "utf-8")
    runner = ROOT / "tests" / "export" / "litert_in_node.mjs"
    shutil.copy(runner, folder)
    subprocess.run([npm, "install", "--silent", *PACKAGES], cwd=folder, check=True, timeout=300)

    def generate(bundle, prompt: str, count: int) -> str:
        command = ["node", runner.name, str(bundle), prompt, str(count)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    return generate


@pytest.fixture(scope="module", params=["gpt-tiny", "lstm-tiny"])
def bundle(request, tmp_path_factory):
    model = small.with_tokenizer(request.param)
    randomise(model.backbone)
    path = tmp_path_factory.mktemp("bundle") / f"{request.param}.bundle"
    return modelzoo.export(model, path, quantize="float32", prefill_lengths=[4, 8]).path


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("a", 6),  # no prefill
        ("the fox likes", 8),
        ("a rose is a rose. the dog", 40),  # to the end of a window
        ("näher, 你好", 6),
    ],
)
def test_it_writes_what_python_writes(node, bundle, prompt, count):
    written = load(bundle).generate(prompt, max_new_tokens=count)
    assert node(bundle, prompt, count) == written.rstrip("\ufffd")
