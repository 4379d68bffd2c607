"""Raw data as batches for `fit()`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelzoo.building.vocabulary import train_tokenizer_for
from modelzoo.errors import DataError
from modelzoo.registry.of_recipe import recipe_of, task_of

if TYPE_CHECKING:
    import keras


def dataset(
    model,
    raw,
    *,
    columns: Mapping[str, str] | None = None,
    batch_size: int | None = None,
    length: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
) -> keras.utils.PyDataset:
    """Raw data as a `keras.utils.PyDataset` for `model.fit`, `evaluate` and `predict`.

    A model that has no tokenizer yet gets one, trained on this text as its recipe says.

    Args:
        raw: a path, an iterable, a `tf.data.Dataset`; see `data.read_examples`. Of a mixture
            `{name of a part: raw data}`.
        columns: field -> the column that holds it, `{"text": "review"}`. Default: those that the
            model was trained with, as far as this data has them.
        batch_size, length: default: the recipe's `[train]` table.
        shuffle: each epoch has an order of its own, and its first rows fill its last batch. With
            `False` every row comes once, in the order of the data, without augmentation; the last
            batch may be shorter, and a classifier's examples need no labels. `predict` takes only
            this.

    Raises:
        DataError: missing, empty or malformed data; other labels than the model has.

    Example:
        >>> small = {"num_layers": 1, "hidden_dim": 32, "num_heads": 2, "vocab_size": 300}
        >>> model = modelzoo.build("gpt-tiny", **small)
        >>> batches = modelzoo.dataset(model, ["a text", "another"], length=8)
        >>> inputs, targets, weights = batches[0]
        >>> inputs["token_ids"].shape
        (16, 8)
        >>> rows = modelzoo.dataset(model, ["a text"], length=8, shuffle=False)
        >>> model.predict(rows, verbose=0).shape
        (1, 8, 300)
    """
    from modelzoo.data.media_rows import readable_examples
    from modelzoo.data.raw import lacks_labels, without_labels
    from modelzoo.data.weighing import row_weights
    from modelzoo.recipe.train_options import train_options
    from modelzoo.tasks.profile import said

    recipe = recipe_of(model)
    options = train_options(recipe)
    task, extra = task_of(recipe), {}
    if shuffle and said(task, "named_data"):
        raw = task.training_data(raw)
    bare = not shuffle and said(task, "reads_unlabelled")
    if bare:
        task.fields = without_labels(task.fields)
    examples = readable_examples(task, options, raw, columns)
    if bare and lacks_labels(examples):
        extra["unlabelled"] = True
    else:
        model.recipe = recipe = task.completed(recipe, examples)
    labels = recipe.table("task_options").get("labels")
    if labels and len(labels) != model.num_labels:
        raise DataError(
            f"the data has {len(labels)} labels and the model {model.num_labels}",
            next_step=f"build it with **{{'task_options.labels': {labels}}}",
        )
    task = task_of(recipe)
    if model.tokenizer is None and task.reads_text:
        model.tokenizer = train_tokenizer_for(recipe, examples)
    batches = task.batches(
        examples,
        model.tokenizer,
        batch_size=batch_size or options.batch_size,
        seed=seed,
        shuffle=shuffle,
        **task.batch_options(model, options, length),
        **extra,
    )
    if not batches.unlabelled:
        batches.row_weights = row_weights(examples, batches.labels, options.class_weights)
    return batches.as_pydataset(ordered=not shuffle)
