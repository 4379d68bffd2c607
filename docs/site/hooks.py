"""What MkDocs lacks: README as the first page, and links that leave docs/ as names of files."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def first_page():
    """Return README.md with its links as they are seen from docs/."""
    text = (ROOT / "README.md").read_text("utf-8").replace("](docs/", "](")
    return re.sub(r"\]\((?=\.github|plugins/)", "](../", text)


def on_files(files, config):
    """Add the first page."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "index.md", content=first_page()))
    return files


def on_page_markdown(markdown, **_):
    """Name the file of the repository in place of a link that leaves docs/."""
    markdown = re.sub(r"\]\(\.\./README\.md(#[\w-]+)?\)", r"](index.md\1)", markdown)
    return re.sub(r"\[([^]]+)\]\(\.\./([^)#]+)[^)]*\)", r"\1 (`\2`)", markdown)
