from __future__ import annotations

import itertools

import pytest
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from modelzoo.versions import allows, normalized, parse_requirement, parse_version

VERSIONS = """
0.1 0.1.0 0.1.1 0.2 1 1.0 1.0.0 1.0.dev1 1.0a1 1.0a1.dev2 1.0b2 1.0rc1 1.0rc1.post1 1.0.post1
1.0.post2 1.0.post1.dev3 1.0+abc.1 1.0+5 1.1.0 1.4.2 1.4.5 1.5 2!1.0 1.10
""".split()
OPERATORS = ("==", "!=", "<=", ">=", "<", ">", "~=", "===")


def test_versions_are_ordered_as_packaging_orders_them():
    for one, other in itertools.product(VERSIONS, VERSIONS):
        ours = parse_version(one).key(local=True) < parse_version(other).key(local=True)
        assert ours == (Version(one) < Version(other)), (one, other)


def test_specifiers_allow_what_packaging_allows():
    compared = 0
    clauses = [f"{o}{v}" for o, v in itertools.product(OPERATORS, VERSIONS)]
    clauses += [f"{o}{v}.*" for o, v in itertools.product(("==", "!="), VERSIONS)]
    for clause in clauses:
        try:
            theirs = SpecifierSet(clause)
        except InvalidSpecifier:
            continue
        for version in VERSIONS:
            expected = theirs.contains(version, prereleases=True)
            assert allows(clause, version) == expected, (version, clause)
            compared += 1
    assert compared > 4_000


@pytest.mark.parametrize("clause", [">=", "1.0", ">=one", "~=1", ">=1.*", "=>1"])
def test_a_clause_that_is_none_is_refused(clause):
    with pytest.raises(ValueError, match="not a version|needs two numbers"):
        allows(clause, "1.0")


@pytest.mark.parametrize(
    ("text", "name", "specifier"),
    [
        ("modelzoo>=0.1,<1", "modelzoo", ">=0.1,<1"),
        ("Model_Zoo[jax,test] >= 0.1", "model-zoo", ">= 0.1"),
        ("modelzoo (>=0.1)", "modelzoo", ">=0.1"),
        ("modelzoo", "modelzoo", ""),
        ("modelzoo @ file:///tmp/x", "modelzoo", ""),
        ("modelzoo~=0.1 ; python_version > '3'", "modelzoo", "~=0.1"),
    ],
)
def test_requirements_are_taken_apart(text, name, specifier):
    requirement = parse_requirement(text)
    assert (requirement.name, requirement.specifier) == (name, specifier)


@pytest.mark.parametrize(
    ("marker", "applies"),
    [
        ("", True),
        ("extra == 'test'", False),
        ("python_version >= '3.11'", True),
        ('python_version < "3.11"', False),
        ("python_version >= '3.11' and extra == 'test'", False),
        ("python_version < '3' or os_name != 'no-such-system'", True),
        ("sys_platform == 'no-such-system'", False),
        ("(python_version >= '3.11') and (extra == 'a')", False),
        ("something_new == 'x'", True),
    ],
)
def test_markers_decide_whether_a_requirement_applies(marker, applies):
    assert parse_requirement(f"modelzoo>=1; {marker}").applies() is applies


def test_names_are_compared_as_pip_compares_them():
    assert normalized("Model_Zoo.Acme--X") == "model-zoo-acme-x"
