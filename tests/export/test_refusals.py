"""What is not exported, and what is said then."""

from __future__ import annotations

import numpy as np
import pytest

import modelzoo
from modelzoo.errors import ExportError, OutputError, RecipeError, UnknownNameError
from modelzoo.exporting import export_bundle
from modelzoo.exporting.formats.tflite_file import Constant, File, check_stored_once
from modelzoo.exporting.process import child
from modelzoo.exporting.quantization.precision import MODES
from modelzoo.exporting.verification.parity import complaint, difference
from tests import small, written
from tests.export.conftest import OWN

# === In the child ===


def test_an_operation_that_the_device_lacks_is_named_with_its_layer(exports):
    error = exports.error(("shaky", "tflite"))
    assert isinstance(error, ExportError)
    assert "LiteRT has no operation for Qr in wobble" in error.what
    assert "--format savedmodel" in error.next_step


def test_a_weight_that_is_stored_twice_is_named(exports):
    error = exports.error(("twice", "tflite"))
    assert "a weight of 16,384 bytes is in the file twice" in error.what
    assert error.what.count("(64, 64)") == 2


def test_a_weight_may_be_in_the_file_as_often_as_the_model_has_it():
    rotation = np.arange(1024, dtype=np.float32).reshape(32, 32)
    other = np.ones((32, 32), np.float32)
    weights = [rotation, rotation.T]

    def check(*values):
        constants = [Constant(f"c{i}", v.shape, v.nbytes, v.ravel()) for i, v in enumerate(values)]
        check_stored_once(File(0, {}, tuple(constants)), weights)

    check(*weights, other, np.zeros((32, 32), np.float32))
    with pytest.raises(ExportError, match="in the file twice: as c0 .* and as c1 "):
        check(*weights, other, rotation / 2)


def test_a_model_that_says_nothing_of_devices_is_told_how(exports):
    error = exports.error(("silent", "tflite"))
    assert "Silent has no export_signatures()" in error.what
    assert "modelzoo.signature.Signature" in error.next_step


def test_a_model_with_one_signature_of_its_own_keeps_its_name(exports):
    assert list(exports["plain", "tflite"]["manifest"]["signatures"]) == ["serve"]
    assert OWN[0] == exports["plain", "tflite"]["manifest"]["task"]


def test_a_model_of_nan_is_not_exported(exports):
    error = exports.error(("nan", "tflite"))
    assert "the model itself gives no number" in error.what
    assert "loss" in error.next_step
    assert not (exports.bundle("nan") / "parity.json").exists()


def test_a_bundle_of_other_weights_fails_with_the_figures(exports):
    exports["gpt", "verify"]
    error = exports.error(("other gpt", "verify"))
    assert "the bundle does not answer as Keras does: " in error.what
    assert "max error" in error.what and "allowed 0.0001" in error.what


@pytest.mark.parametrize(
    ("key", "kind", "said"),
    [
        ("misspelt", RecipeError, "takes no 'max_lenght'(.|\n)*did you mean: max_length"),
        ("text", RecipeError, 'export.max_length must be an int, not "long"'),
        ("zero", ExportError, "export.prefill_lengths must be 1 or more, not 0"),
        ("too long", ExportError, "export.max_length is 65, and the model reads 64"),
    ],
)
def test_a_wrong_option_is_refused(exports, key, kind, said):
    with pytest.raises(kind, match=said):
        exports["gpt", key]


def test_a_full_disk_is_an_output_error(exports):
    if ("gpt", "full disk") not in exports.answers:
        pytest.skip("this process may not mount a file system")
    error = exports.error(("gpt", "full disk"))
    assert isinstance(error, OutputError)
    assert "the disk is full" in error.what


def test_the_childs_traceback_and_log_are_the_cause(exports):
    cause = exports.error(("shaky", "tflite")).__cause__
    assert isinstance(cause, child.ChildLog)
    assert "Traceback" in str(cause) and "ConverterError" in str(cause)


# === Before a child is started ===


@pytest.fixture
def no_child(monkeypatch):
    def run(job, progress=None):
        raise AssertionError("a child was started")

    monkeypatch.setattr(child, "run", run)


def test_an_unknown_precision_is_refused_with_the_nearest(no_child, tmp_path):
    with pytest.raises(ExportError, match="'float61' is not(.|\n)*did you mean: float16"):
        modelzoo.export("gpt-tiny", tmp_path / "b", quantize="float61")


def test_an_unknown_format_is_refused_with_the_nearest(no_child, tmp_path):
    with pytest.raises(UnknownNameError, match="'tflit' is not an exporter(.|\n)*mean: tflite"):
        modelzoo.export("gpt-tiny", tmp_path / "b", format="tflit")


def test_a_saved_model_has_one_precision(no_child, tmp_path):
    with pytest.raises(ExportError, match="savedmodel has no float16; it has float32"):
        modelzoo.export("gpt-tiny", tmp_path / "b", format="savedmodel", quantize="float16")


def test_what_is_no_model_is_refused(no_child, tmp_path, exports):
    with pytest.raises(UnknownNameError, match="did you mean: gpt-tiny"):
        modelzoo.export("gpt-tinny", tmp_path / "b")
    with pytest.raises(ExportError, match="is a bundle already"):
        modelzoo.export(exports.bundle("gpt"), tmp_path / "b")
    with pytest.raises(ExportError, match="object has no recipe"):
        modelzoo.export(object(), tmp_path / "b")


def test_an_existing_output_is_kept_unless_forced(no_child, tmp_path):
    target = tmp_path / "mine"
    target.mkdir()
    (target / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="exists"):
        modelzoo.export("gpt-tiny", target)
    with pytest.raises(OutputError, match=r"holds letter\.txt, which modelzoo did not write"):
        modelzoo.export("gpt-tiny", target, force=True)
    assert (target / "letter.txt").read_text() == "dear"


def test_names_of_this_process_alone_cannot_cross(no_child, tmp_path, monkeypatch):
    from modelzoo import recipe
    from modelzoo.registry import components

    monkeypatch.setitem(components._registered["architectures"], "mine", lambda **values: None)
    found = recipe.from_values({"architecture": "mine", "task": "causal-lm"}, name="mine")
    with pytest.raises(ExportError, match="the architecture 'mine' is defined in this process"):
        child.registrations(found, "tflite")


# === Failures leave nothing, and no half ===


def failing(monkeypatch, error):
    def run(job, progress=None):
        from pathlib import Path

        (Path(job["folder"]) / "model.tflite").write_bytes(b"half")
        raise error

    monkeypatch.setattr(child, "run", run)


@pytest.mark.parametrize("error", [ExportError("no"), OSError(28, "full"), KeyboardInterrupt()])
def test_a_failed_export_leaves_nothing_behind(monkeypatch, tmp_path, error):
    failing(monkeypatch, error)
    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        export_bundle("gpt-tiny", tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_old_bundle(monkeypatch, tmp_path):
    target = written.bundle(tmp_path / "b")
    before = small.listing(tmp_path)
    failing(monkeypatch, ExportError("no"))
    with pytest.raises(ExportError):
        export_bundle("gpt-tiny", target, force=True)
    assert small.listing(tmp_path) == before


def test_a_forced_export_replaces_the_old_bundle_whole(monkeypatch, tmp_path):
    from pathlib import Path

    target = written.bundle(tmp_path / "b")

    def run(job, progress=None):
        (Path(job["folder"]) / "manifest.json").write_text("new")
        return {"manifest": {}, "parity": {}}

    monkeypatch.setattr(child, "run", run)
    assert export_bundle("gpt-tiny", target, force=True).path == target
    assert {path.name: path.read_text() for path in target.iterdir()} == {"manifest.json": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


# === What counts as the same ===


def test_differences_are_measured():
    right = np.array([3.0, -4.0], np.float32)
    found = difference(np.array([3.0, -4.5], np.float32), right)
    assert (found.max_abs_error, found.largest, found.finite) == (0.5, 4.0, True)
    assert found.cosine == pytest.approx((9 + 18) / (5 * np.hypot(3, 4.5)))
    zero = np.zeros(3, np.float32)
    assert difference(zero, zero).cosine == 1.0
    assert not difference(np.array([np.nan]), np.array([1.0])).finite
    with pytest.raises(ExportError, match="shape"):
        difference(np.zeros((1, 2)), np.zeros((2, 1)))


def test_allowed_is_absolute_for_small_numbers_and_relative_for_large_ones():
    mode, right = MODES["float32"], np.array([1.0, 2.0])
    assert complaint("x", difference(right + 9e-5, right), mode) is None
    assert "max error 0.00011, allowed 0.0001" in complaint(
        "x", difference(right + 1.1e-4, right), mode
    )
    large = right * 100
    assert complaint("x", difference(large + 1.9e-3, large), mode) is None
    assert complaint("x", difference(large + 2.1e-3, large), mode)
    assert "not a number" in complaint("x", difference(right * np.nan, right), mode)


def test_float16_must_keep_the_direction_too():
    right = np.array([1.0, 0.0]) * 0.1
    found = difference(right + np.array([0.0, 9e-3]), right)
    assert "cosine" in complaint("x", found, MODES["float16"])
