"""Charts of a report, read back as pictures."""

import sys

import numpy as np
import pytest

from modelzoo.bench import check_chart, draw
from modelzoo.errors import MissingDependencyError, OutputError

RED = (0xC2, 0x45, 0x2D)  # the limit's line
pytest.importorskip("matplotlib")


def report(*, speeds=(), signatures=(), token_bytes=10**8):
    """A report with a run for one and two threads."""
    runs = []
    for threads in (1, 2):
        run = {"threads": threads, "peak_mb": 99.0}
        if speeds:
            run |= dict(zip(("prefill_tokens_s", "decode_tokens_s"), speeds, strict=True))
            run |= {"prompt_tokens": 8, "new_tokens": 4, "token_bytes": token_bytes}
            run |= {"limit_tokens_s": 100.0, "share": speeds[1] / 100}
        run["signatures"] = {
            name: {"p50_ms": 3.0, "p95_ms": 4.0, "batch_size": 1, "items_s": 333.0}
            for name in signatures
        }
        runs.append(run)
    machine = {"processor": "Abacus 3000", "cores": 2, "cache_bytes": 10**7}
    sizes = {"model_bytes": 10**8, "bundle_bytes": 10**8}
    return {"name": "gpt", "precision": None, "machine": machine, "runs": runs} | sizes


def pixels(path):
    from matplotlib.image import imread

    return np.round(imread(path)[..., :3] * 255).astype(int)


def rows_of_red(path):
    return np.flatnonzero((pixels(path) == RED).all(-1).sum(-1) > 50)


def test_the_limit_is_a_line_above_the_bars(tmp_path):
    image = draw(report(speeds=(900.0, 80.0)), tmp_path / "a.png")
    red = rows_of_red(image)
    blue = np.flatnonzero((pixels(image) == (0x2F, 0x6D, 0xB5)).all(-1).sum(-1) > 50)
    assert red.size and red.max() < blue.min()  # rows count from the top


def test_a_model_that_the_cache_holds_has_no_limit(tmp_path):
    image = draw(report(speeds=(900.0, 80.0), token_bytes=10**6), tmp_path / "a.png")
    assert not rows_of_red(image).size


def test_encoders_and_encoder_decoders_have_panels_of_latency(tmp_path):
    names = [f"encode_{length}" for length in (32, 64, 128, 256, 512)]
    one = pixels(draw(report(signatures=names[:1]), tmp_path / "a.png"))
    five = pixels(draw(report(signatures=names), tmp_path / "b.png"))
    both = pixels(draw(report(speeds=(1.0, 2.0), signatures=names[:1]), tmp_path / "c.png"))
    assert five.shape[0] > one.shape[0]
    assert both.shape[1] > one.shape[1]


def test_nothing_is_drawn_over_the_pictures_edge(tmp_path):
    for number, options in enumerate(
        [{"speeds": (900.0, 123456.0)}, {"signatures": ["encode_128_b8"]}]
    ):
        image = pixels(draw(report(**options), tmp_path / f"{number}.png"))
        edges = (image[:4], image[-4:], image[:, :4], image[:, -4:])
        assert all((edge == 255).all() for edge in edges)


def test_an_older_chart_is_replaced(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    draw(report(speeds=(900.0, 80.0)), path)
    assert path.read_bytes().startswith(b"\x89PNG") and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "name, message",
    [("a.pdf", "a chart is a PNG file"), ("no/a.png", "no folder"), ("d.png", "is a folder")],
)
def test_a_path_that_cannot_hold_a_chart_is_refused(tmp_path, name, message):
    (tmp_path / "d.png").mkdir()
    with pytest.raises(OutputError, match=message):
        check_chart(tmp_path / name)


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError) as caught:
        check_chart(tmp_path / "a.png")
    assert caught.value.next_step == 'pip install "modelzoo-keras[chart]"'
