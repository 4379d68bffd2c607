"""A plugin's task and format are found everywhere that the core's are, and no room names them."""

from __future__ import annotations

import ast
import json
import re

import pytest

import modelzoo
from modelzoo.cli import main
from modelzoo.errors import ExportError
from modelzoo.exporting.formats.format import Format, format_of
from modelzoo.plugins import VARIABLE, discovery
from modelzoo.registry import components, recipes_directory
from modelzoo.tasks.base import Task
from modelzoo.tasks.profile import said
from modelzoo.weights import write_checkpoint
from tests.plugin_site import ROOT, Site
from tests.test_docs import FILES

# No subclass of Task: it has what the contract asks for, and what it says of itself.
TASK = '''
"""Which mood a text is in."""

from modelzoo.tasks.text_classification import TextClassificationTask


class MoodTask:
    name = "mood/mood"
    fields = (("text", "label"),)
    best, reads_text, media = "loss", True, ()

    does = "says which mood a text is in"
    special_tokens = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MOOD]")
    example = 'print(model.classify("a calm sea", top=1))'
    abilities = ("classify", "sing")

    def __init__(self, *, labels: list[str], loudness: float = 1.0):
        self.inner = TextClassificationTask(labels=labels, dropout=0.0)

    def model(self, backbone):
        return self.inner.model(backbone)

    def losses(self):
        return self.inner.losses()

    def examples(self, raw):
        return self.inner.examples(raw)

    def batches(self, raw, tokenizer, **options):
        return self.inner.batches(raw, tokenizer, **options)

    def evaluate(self, model, batches):
        return self.inner.evaluate(model, batches)

    def completed(self, recipe, examples):
        return recipe

    def batch_options(self, model, options, length=None):
        return self.inner.batch_options(model, options, length)

    @classmethod
    def options_of_config(cls, config, names):
        return {"labels": config["moods"], "loudness": config["loudness"]}

    @classmethod
    def config_of(cls, model, classes):
        options = model.recipe.table("task_options")
        return {"moods": options["labels"], "loudness": options["loudness"]}

    @classmethod
    def extras_of(cls, model, config):
        return {"mood.json": {"moods": len(config["moods"])}}
'''

FORMAT = '''
"""The format mood/boxed: a TFLite bundle with its labels as text."""

from modelzoo.exporting.formats import tflite
from modelzoo.exporting.formats.format import Format

FORMAT = Format(
    "mood/boxed",
    precisions=("float32", "int8"),
    engine="litert",
    readme=lambda manifest: f"### Boxed\\n\\nOpen `{manifest['model']}`.",
)


def export(model, signatures, folder, *, mode, scratch):
    labels = model.recipe.table("task_options")["labels"]
    (folder / "labels.txt").write_text("\\n".join(labels), "utf-8")
    return tflite.export(model, signatures, folder, mode=mode, scratch=scratch)
'''

RECIPE = """
summary = "Moods"
architecture = "mood/average"
task = "mood/mood"
[model]
vocab_size = 400
num_layers = 1
hidden_dim = 16
max_length = 16
[task_options]
labels = ["calm", "wild"]
loudness = 2.5
[tokenizer]
kind = "byte"
"""

GROUPS = {
    "modelzoo.plugins": {"mood": "modelzoo_mood"},
    "modelzoo.architectures": {"average": "modelzoo_mood.average:build"},
    "modelzoo.tasks": {"mood": "modelzoo_mood.mood:MoodTask"},
    "modelzoo.exporters": {"boxed": "modelzoo_mood.boxed:export"},
    "modelzoo.weight_tables": {"acme_average": "modelzoo_mood.weights:TABLE"},
}


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory):
    """The plugin `mood`: the architecture of docs/plugins.md, with a task and a format."""
    names = ("__init__", "average", "layers", "weights")
    files = {f"modelzoo_acme/{name}.py": FILES[f"modelzoo_acme/{name}.py"] for name in names}
    files |= {"modelzoo_acme/mood.py": TASK, "modelzoo_acme/boxed.py": FORMAT}
    files |= {"modelzoo_acme/recipes/tiny.toml": RECIPE}
    files = {
        name.replace("_acme", "_mood"): re.sub(r"modelzoo_acme\b", "modelzoo_mood", text)
        .replace('"acme/', '"mood/')
        .replace('"text-classification": Head', '"mood/mood": Head')
        for name, text in files.items()
    }
    site = Site(tmp_path_factory.mktemp("site"), recipes_directory())
    site.add("modelzoo-mood", entry_points=GROUPS, files=files)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(VARIABLE, raising=False)
        patch.syspath_prepend(site.path)
        _forget()
        yield
    _forget()


def _forget() -> None:
    discovery._discover.cache_clear()
    discovery._metadata_folders.cache_clear()


@pytest.fixture(scope="module")
def model():
    built = modelzoo.build("mood/tiny")
    modelzoo.dataset(built, [("a calm sea", "calm"), ("a wild sea", "wild")] * 4)
    return built


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "mood.bundle"
    modelzoo.export(model, path, format="mood/boxed")
    return path


def said_by(capsys, *argv) -> str:
    assert main([*map(str, argv)]) == 0
    return capsys.readouterr().out


# === Names ===


def test_list_and_find_know_both(capsys):
    assert "mood/tiny" in said_by(capsys, "list", "--task", "mood/mood")
    assert re.search(r"task +mood/mood +.*mood\.py:7", said_by(capsys, "find", "mood/mood"))
    assert re.search(r"exporter +mood/boxed +.*boxed\.py:", said_by(capsys, "find", "mood/boxed"))


def test_help_lists_both_and_all_of_the_core_without_importing_them(capsys):
    formats = said_by(capsys, "export", "--help")
    tasks = said_by(capsys, "tokenizer", "train", "--help").replace("\n", "").replace(" ", "")
    for name in components.known("exporter"):
        assert name in formats
    for name in components.known("task"):
        assert name in tasks
    assert {"mood/boxed", "tflite", "litertlm"} <= {*components.known("exporter")}
    assert "mood/mood" in components.known("task")


# === What the task says ===


def test_a_tokenizer_gets_the_tasks_control_tokens(capsys, tmp_path, model):
    path = tmp_path / "tokenizer.json"
    (tmp_path / "text.txt").write_text("a calm sea\n")
    argv = ("--data", tmp_path / "text.txt", "--kind", "byte", "--task", "mood/mood", "-o", path)
    said_by(capsys, "tokenizer", "train", *argv)
    for tokenizer in (model.tokenizer, modelzoo.runtime.Tokenizer.load(path)):
        assert tokenizer.id_to_token(4) == "[MOOD]"


def test_a_checkpoint_says_the_tasks_options_both_ways(tmp_path, model):
    folder = write_checkpoint(model, tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["AverageForSequenceClassification"]
    assert (config["moods"], config["loudness"]) == (["calm", "wild"], 2.5)
    assert json.loads((folder / "mood.json").read_text()) == {"moods": 2}
    again = modelzoo.build(folder).recipe
    assert again.task == "mood/mood"
    assert again.table("task_options") == {"labels": ["calm", "wild"], "loudness": 2.5}


def test_a_task_that_says_nothing_has_the_defaults_of_task():
    class Bare:
        name = "bare"

    assert said(Bare, "special_tokens") == Task.special_tokens
    assert said(Bare(), "abilities") is None
    assert said(Bare, "options_of_config")({}, frozenset()) == {}


# === A bundle ===


def test_the_manifest_says_what_a_device_needs(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert (manifest["task"], manifest["format"]) == ("mood/mood", "mood/boxed")
    assert manifest["engine"] == "litert"
    assert manifest["precision"] == "float32"
    # Its signatures would allow `embed` too, and nothing can `sing`.
    assert manifest["abilities"] == ["classify"]
    assert modelzoo.runtime.load(bundle).abilities == ("classify",)


def test_the_readme_says_what_it_does_and_how(bundle):
    text = (bundle / "README.md").read_text("utf-8")
    assert "bundle (float32) that says which mood a text is in: " in text
    assert 'print(model.classify("a calm sea", top=1))' in text
    assert "ai-edge-litert; no Keras" in text
    assert "### Boxed\n\nOpen `model.tflite`." in text


def test_run_and_verify_take_the_bundle(capsys, bundle):
    answer = json.loads(said_by(capsys, "run", bundle, "a calm sea", "--json"))
    assert {one["label"] for one in answer["labels"]} == {"calm", "wild"}
    said_by(capsys, "verify", bundle)


# === What the format says ===


def test_a_precision_that_the_format_lacks_is_rejected(tmp_path):
    with pytest.raises(ExportError, match="mood/boxed has no float16; it has float32, int8") as e:
        modelzoo.export("mood/tiny", tmp_path / "b", format="mood/boxed", quantize="float16")
    assert e.value.next_step == "--format tflite has float16"


def test_a_module_without_a_format_has_the_defaults_and_one_of_another_name_is_named(monkeypatch):
    import modelzoo_mood.boxed as boxed

    monkeypatch.setattr(boxed, "FORMAT", Format("mood/box"))
    with pytest.raises(
        ExportError, match="the exporter mood/boxed has a FORMAT that is .*mood/box"
    ):
        format_of("mood/boxed")
    monkeypatch.delattr(boxed, "FORMAT")
    boxed.export.reopen = reopen = object()  # as plugins for 0.1 have it
    assert format_of("mood/boxed") == Format("mood/boxed", reopen=reopen)


# === No room names a task or a format ===

# Where the name of one stands as an example, a default, the name of a check, or for old bundles.
NAMED = {
    "cli/tokenizer.py": {"causal-lm"},
    "exporting/formats/format.py": {"tflite"},
    "runtime/engines/opening.py": {"litertlm", "tflite", "savedmodel"},
    "testing/device_checks.py": {"tflite", "savedmodel"},
    "testing/plan.py": {"tflite", "savedmodel"},
    "weights/derive.py": {"text-embedding"},
}


def test_a_name_of_the_core_stands_in_its_own_files_and_one_registration():
    package = ROOT / "modelzoo"
    names = {*components.CORE["tasks"], *components.CORE["exporters"]}
    # An architecture's and a key's too; an objective's; a table's of the recipe.
    names -= {"contrastive", "captioning", "mixture"}
    formats = tuple(f"exporting/formats/{name}" for name in components.CORE["exporters"])
    own = ("tasks/", "weights/tables/", "registry/components.py", *formats)
    found = {}
    for path in package.rglob("*.py"):
        name = path.relative_to(package).as_posix()
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        used = {node.value for node in nodes if isinstance(node, ast.Constant)} & names
        if used and not name.startswith(own):
            found[name] = used
    assert found == NAMED
