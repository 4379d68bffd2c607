import sysconfig
from itertools import islice
from pathlib import Path

import pytest

from modelzoo.data.python_docs import _sources, read_python_docs
from modelzoo.data.raw import read_examples
from modelzoo.errors import DataError


def test_docs_are_modules_in_the_order_of_names():
    first = list(islice(read_python_docs(), 12))
    assert [name for name, _ in first] == sorted(name for name, _ in first)
    assert first == list(islice(read_python_docs(), 12))
    assert next(read_examples("demo:python-docs"))["text"] == first[0][1]


def test_no_source_of_a_test_is_read():
    stdlib = Path(sysconfig.get_path("stdlib"))
    parts = [set(path.relative_to(stdlib).parts) for path in _sources(stdlib)]
    assert len(parts) > 300
    assert not any({"test", "tests", "site-packages"} & names for names in parts)


def test_docstrings_come_in_source_order_and_nothing_is_run(tmp_path):
    (tmp_path / "abc.py").write_text(
        '"""Module."""\nraise SystemExit\nclass A:\n    """Class."""\n    def f(self):\n'
        '        """  Method,\n\n        in two paragraphs."""\n'
        'if True:\n    def g():\n        """In a branch."""\n"""not a docstring"""\n'
    )
    (tmp_path / "ast.py").write_text('"""Broken."""\ndef (')
    (tmp_path / "cmd.py").write_text(r'"""Half \ud800."""')
    assert list(read_python_docs(tmp_path)) == [
        ("abc", "Module.\n\nClass.\n\nMethod,\n\nin two paragraphs.\n\nIn a branch."),
        ("cmd", "Half ?."),
    ]


def test_python_without_sources_is_an_error(tmp_path):
    with pytest.raises(DataError, match="without the sources"):
        list(read_python_docs(tmp_path))
