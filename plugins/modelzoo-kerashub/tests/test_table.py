"""The table goes on where it was stopped, and says of each backbone how far it came."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from modelzoo.errors import ExportError

from modelzoo_kerashub import index, table

GOOD = {"builds": True, "exports": True, "verifies": True, "error": 1e-6, "why": None}
BAD = {"builds": True, "exports": False, "verifies": False, "error": None, "why": "a | b"}


@pytest.fixture
def rows(monkeypatch):
    """What the children would say, and the names they were started for."""
    asked = []

    def child(name, seconds):
        asked.append(name)
        return BAD if name == "ViTBackbone" else GOOD

    monkeypatch.setattr(table, "_in_child", child)
    return asked


def test_every_backbone_has_a_row_under_its_own_name():
    assert set(table.names()) == {one.name for one in index.backbones().values()}


def test_what_was_measured_is_kept_and_not_measured_again(rows, tmp_path):
    path = tmp_path / "rows.json"
    table.run(["BertBackbone"], path)
    kept = table.run(["BertBackbone", "ViTBackbone"], path)
    assert rows == ["BertBackbone", "ViTBackbone"]
    assert kept["rows"] == {"BertBackbone": GOOD, "ViTBackbone": BAD}
    table.run(["BertBackbone"], path, again=True)
    assert rows[-1] == "BertBackbone"


def test_rows_of_other_versions_are_measured_anew(rows, tmp_path):
    path = tmp_path / "rows.json"
    table.run(["BertBackbone"], path)
    kept = json.loads(path.read_text())
    kept["versions"]["keras-hub"] = "0.1"
    path.write_text(json.dumps(kept))
    table.run(["BertBackbone"], path)
    assert rows == ["BertBackbone"] * 2


def test_ctrl_c_keeps_all_that_was_measured(monkeypatch, tmp_path, capsys):
    def child(name, seconds):
        if name == "BertBackbone":
            raise KeyboardInterrupt
        return GOOD

    monkeypatch.setattr(table, "_in_child", child)
    path = tmp_path / "rows.json"
    code = table.main(["--only", "ViTBackbone", "--only", "BertBackbone", "--results", str(path)])
    assert code == 130 and "holds what was measured" in capsys.readouterr().err
    assert list(json.loads(path.read_text())["rows"]) == ["ViTBackbone"]


def test_the_table_says_why_not_and_counts(rows, tmp_path, capsys):
    path = str(tmp_path / "rows.json")
    command = ["--only", "BertBackbone", "--only", "ViTBackbone", "--results", path]
    assert table.main(command) == 0
    text = capsys.readouterr().out
    assert "| BertBackbone | yes | yes | yes | 1.0e-06 |  |" in text
    assert "| ViTBackbone | yes | no | no |  | a \\| b |" in text
    assert "1 of 2 backbones verify (2 build, 1 export)" in text
    assert table.main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["figure"].startswith("1 of 2") and found["rows"]["ViTBackbone"]["why"] == "a | b"


def test_an_unknown_name_or_a_broken_file_is_one_message(tmp_path, capsys):
    assert table.main(["--only", "VitBackbon"]) == 2
    assert "did you mean: ViTBackbone?" in capsys.readouterr().err
    path = tmp_path / "rows.json"
    path.write_text("{")
    assert table.main(["--only", "ViTBackbone", "--results", str(path)]) == 2
    assert "holds no results" in capsys.readouterr().err


def test_how_far_it_came_is_read_off_the_steps(monkeypatch):
    from modelzoo import exporting

    def export_bundle(name, path, quantize, progress):
        assert quantize == "float32"  # whose errors the table prints
        progress("converting to tflite")
        raise ExportError("LiteRT has no operation for FFT\nin fnet")

    monkeypatch.setattr(exporting, "export_bundle", export_bundle)
    row = table.measure("FNetBackbone")
    assert (row["builds"], row["exports"], row["verifies"]) == (True, False, False)
    assert row["why"] == "LiteRT has no operation for FFT in fnet"


def test_a_child_that_takes_too_long_is_ended_with_all_it_started(monkeypatch, tmp_path):
    note = tmp_path / "pid"
    code = (
        "import pathlib, subprocess, time; child = subprocess.Popen(['sleep', '60']);"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid)); time.sleep(60)"
    )
    original = table.subprocess.Popen
    monkeypatch.setattr(
        table.subprocess, "Popen", lambda command, **o: original([sys.executable, "-c", code], **o)
    )
    begin = time.monotonic()
    row = table._in_child("ViTBackbone", seconds=3)
    assert row["why"] == "not done after 3 seconds" and time.monotonic() - begin < 30
    status = Path("/proc", note.read_text(), "stat")
    for _ in range(50):  # gone, or waiting for somebody to take its exit code
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("what the child started is still running")


def test_a_child_that_dies_is_a_row_with_its_code(monkeypatch):
    original = table.subprocess.Popen
    code = "import sys; print('last words', file=sys.stderr); sys.exit(7)"
    monkeypatch.setattr(
        table.subprocess, "Popen", lambda command, **o: original([sys.executable, "-c", code], **o)
    )
    row = table._in_child("ViTBackbone", seconds=20)
    assert "code 7" in row["why"] and "last words" in row["why"]


@pytest.mark.slow
def test_a_backbone_is_measured_from_the_command_line(tmp_path, capsys):
    path = str(tmp_path / "rows.json")
    assert table.main(["--only", "VGGBackbone", "--results", path]) == 0
    assert "1 of 1 backbones verify" in capsys.readouterr().out
