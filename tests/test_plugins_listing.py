"""A list of thousands of recipes: only their heads are read, and that tells no lie."""

from __future__ import annotations

import tomllib

import pytest

from modelzoo.errors import RecipeError
from modelzoo.plugins.catalogue import RecipeText
from modelzoo.recipe import from_values, glance, read
from modelzoo.recipe.toml import read_lines
from modelzoo.registry import recipes_directory

HEAD = 'summary = "x"\narchitecture = "gpt"\nparameters = 1_234 # about\n'


def test_a_glance_at_each_recipe_of_the_core_is_what_reading_it_gives():
    seen = 0
    for path in recipes_directory().glob("*.toml"):
        found = glance(RecipeText(str(path)))
        if found is None:  # it extends another, or is made of parts
            assert any(word in path.read_text("utf-8") for word in ("extends", "recipe"))
            continue
        whole = tomllib.loads(path.read_text("utf-8"))
        assert found == {k: v for k, v in whole.items() if not isinstance(v, dict)}, path.name
        seen += 1
    assert seen > 10


@pytest.mark.parametrize(
    "text",
    [
        HEAD,
        HEAD + "[model]\nnum_layers = 2\n",
        HEAD + "\n\r\n  # a comment, 中文\n[train]\n",
        HEAD + "[model.rotary]\nkind = 3\n[train]\nsteps = 1\n",
        'summary = "tabs\\tand \\"quotes\\""\narchitecture = "gpt"\n[model]\nx = 1\n',
        "summary = '''\n[model]\nlines'''\narchitecture = \"gpt\"\n",
        'summary = """\n[train]\n"""\narchitecture = "gpt"\n[model]\n',
        'architecture = "gpt"',
    ],
)
def test_a_glance_agrees_with_a_whole_reader_or_leaves_it_to_it(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(text, encoding="utf-8", newline="")
    found = glance(RecipeText(str(path)))
    values = {k: v for k, v in tomllib.loads(text).items() if not isinstance(v, dict)}
    assert found in (None, values)
    if found is not None:
        assert read(path).values.items() >= found.items()


@pytest.mark.parametrize(
    "text",
    [
        'architecture = "gpt"\nextends = "gpt-small"\n',
        'architecture = "clip"\n[model.image]\nrecipe = "vit"\n',
        'architecture = "clip"\n[model]\nimage = {recipe = "vit"}\n',
        'architecture = "gpt"\n[modle]\nnum_layers = 2\n',
        'architecture = "gpt"\nsumary = "x"\n',
        'architecture = "gpt"\nparameters = -1\n',
        'architecture = "gpt"\nparameters = "12"\n',
        'architecture = "gpt"\nparameters = 012\n',
        'architecture = "gpt"\nparameters = true\n',
        'architecture = "gpt"\narchitecture = "bert"\n',
        "architecture = 3\n",
        'summary = "no architecture"\n',
        "architecture = \n",
        'architecture = "g\tpt\n',
    ],
)
def test_a_recipe_that_its_head_does_not_tell_is_read_in_full(tmp_path, text):
    path = tmp_path / "a.toml"
    path.write_text(text, encoding="utf-8")
    assert glance(RecipeText(str(path))) is None


def test_what_is_wrong_in_the_head_is_listed_with_the_message_of_a_whole_reader(site):
    from tests.plugin_site import acme

    acme(site)
    (site.path / "modelzoo_acme" / "recipes" / "odd.toml").write_text('sumary = "x"\n')
    assert "recipe acme/odd: a recipe has no key 'sumary'" in site.modelzoo("list").stderr
    with pytest.raises(RecipeError, match="'sumary'"):
        from_values({"sumary": "x"}, name="odd")


@pytest.mark.parametrize(
    "text",
    [
        'a = "x"\nb = 1_000\nc = 0\n',
        "# only a comment\n\n",
        'a="x" # behind\r\nb-c_d=12',
        'a = "#not a comment"\n',
        "",
    ],
)
def test_plain_lines_are_read_as_toml_is(text):
    assert read_lines(text) == tomllib.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        'a = "x\\n"',
        "a = 1__0",
        "a = 01",
        "a = 1.5",
        'a = ""x"',
        'a = """x"""',
        "a.b = 1",
        "a = 1 b",
    ],
)
def test_other_lines_are_left_to_a_toml_reader(text):
    assert read_lines(text) is None
