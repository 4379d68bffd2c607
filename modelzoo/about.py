"""What this project is called where it is installed, and its version.

The import name, the command and the entry-point groups are `modelzoo`. The distribution is not:
PyPI's `modelzoo` is another project.
"""

from __future__ import annotations

__all__ = ["DISTRIBUTION", "FOREIGN", "SUMMARY", "UPGRADE", "VERSION", "WHEEL", "install_command"]

DISTRIBUTION = "modelzoo-keras"
VERSION = "0.2.0"
SUMMARY = "modelzoo: take a model by name, `fit()` it in Keras, ship it to a device."

# Another project's distribution of our import name: installed beside ours, its files replace ours.
# Until 0.1 it was our own name, so plugins of that time require it.
FOREIGN = "modelzoo"

# What `python -m build --wheel` writes. pip installs it where no index has the distribution.
WHEEL = f"{DISTRIBUTION.replace('-', '_')}-{VERSION}-py3-none-any.whl"

UPGRADE = f"pip install --upgrade {DISTRIBUTION}"


def install_command(extra: str) -> str:
    """The command that adds an extra to the installed distribution.

    Example:
        >>> install_command("tensorflow")
        'pip install "modelzoo-keras[tensorflow]"'
    """
    return f'pip install "{DISTRIBUTION}[{extra}]"'
