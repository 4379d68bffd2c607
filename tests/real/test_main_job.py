"""README's first command in a copy of the checkout, and its bundle on a bare device environment."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelzoo.about import DISTRIBUTION

ROOT = Path(__file__).parents[2]
PARTS = ("modelzoo", "plugins", "recipes", "pyproject.toml", "README.md", "LICENSE")
pytestmark = [pytest.mark.real, pytest.mark.slow]


def block(mark: str) -> str:
    """The code block of README that follows `<!-- mark -->`."""
    text = (ROOT / "README.md").read_text("utf-8")
    return re.search(rf"<!-- {mark} -->\n```bash\n(.*?)```", text, re.DOTALL)[1]


def sh(script: str, folder: Path) -> str:
    # As a fresh shell has it: none of this process's environment leaks into the one that is made.
    environment = {key: os.environ[key] for key in os.environ if not key.startswith("PYTHON")}
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return folder


@pytest.fixture(scope="module")
def main_job(checkout) -> str:
    return sh(block("main job"), checkout)


def test_the_main_job_builds_trains_exports_and_generates(main_job, checkout):
    assert "🍎 red apple" in main_job.splitlines()[0]
    assert "124,439,808 parameters" in main_job
    bundle = checkout / "out" / "docs-gpt.bundle"
    parity = json.loads((bundle / "parity.json").read_text())
    assert parity, "export wrote no figures"
    generated = main_job.rpartition("\nheld out")[2].partition("\n")[2]
    assert len(generated.split()) > 5


def test_the_bundle_generates_the_same_with_the_base_install_alone(main_job, checkout, tmp_path):
    wheels = tmp_path / "wheels"
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(wheels), str(ROOT)],
        check=True,
        capture_output=True,
    )
    wheel = next(wheels.glob("*.whl"))
    device = tmp_path / "device"
    sh(f"{sys.executable} -m venv {device} && {device}/bin/pip install -q {wheel}", tmp_path)
    lines = sh(f"{device}/bin/pip list --format=freeze", tmp_path).lower().split()
    packages = {line.partition("==")[0] for line in lines}
    assert DISTRIBUTION in packages
    assert not {"keras", "tensorflow"} & packages
    last = [line for line in block("main job").splitlines() if line.startswith("modelzoo run")][-1]
    command = last.replace("modelzoo", f"{device}/bin/modelzoo", 1)
    answer = sh(command, checkout)
    assert answer.strip() == main_job.strip()[-len(answer.strip()) :]
    assert sh(f"{device}/bin/modelzoo list", tmp_path).count("\n") > 30
    sh(f"{device}/bin/modelzoo bench out/docs-gpt.bundle --json", checkout)
