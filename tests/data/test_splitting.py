import pytest

from modelzoo.data import split
from modelzoo.errors import DataError

DOCUMENTS = [{"text": f"document {number}"} for number in range(50)]


def test_no_document_is_in_both_and_none_is_lost():
    training, validation = split(DOCUMENTS, 0.2, seed=3)
    assert len(validation) == 10
    assert sorted(d["text"] for d in training + validation) == sorted(d["text"] for d in DOCUMENTS)
    assert training == [d for d in DOCUMENTS if d in training]  # in their order


def test_split_depends_on_the_seed_alone():
    assert split(DOCUMENTS, 0.2, seed=3) == split(iter(DOCUMENTS), 0.2, seed=3)
    assert split(DOCUMENTS, 0.2, seed=3) != split(DOCUMENTS, 0.2, seed=4)


def test_each_side_gets_at_least_one():
    assert [len(side) for side in split(DOCUMENTS[:3], 0.01)] == [2, 1]
    assert [len(side) for side in split(DOCUMENTS[:3], 0.99)] == [1, 2]
    assert [len(side) for side in split(DOCUMENTS, 0)] == [50, 0]


def test_single_text_is_cut_at_a_paragraph():
    text = "\n\n".join(f"Paragraph {number}.\nTwo lines." for number in range(100))
    (training,), (validation,) = split([{"text": text}], 0.1)
    assert training["text"] + validation["text"] == text
    assert validation["text"].startswith("Paragraph 90.")


@pytest.mark.parametrize(
    ("examples", "fraction"),
    [([], 0.1), ([{"text": "a", "label": 1}], 0.1), (DOCUMENTS, 1.0), (DOCUMENTS, -0.1)],
)
def test_what_cannot_be_split_is_refused(examples, fraction):
    with pytest.raises(DataError):
        split(examples, fraction)
