"""The type of what `build` and `load` return; type checkers and editors read it, and no code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelzoo.runtime.abilities.protocols import (
        Captions,
        Chats,
        Classifies,
        Embeds,
        EmbedsMedia,
        FillsMasks,
        Generates,
        Tags,
        Transcribes,
        ZeroShot,
    )
    from modelzoo.tasks.base import TaskModel

    class ZooModel(
        TaskModel,
        Generates,
        Chats,
        Classifies,
        Embeds,
        FillsMasks,
        Tags,
        Captions,
        Transcribes,
        EmbedsMedia,
        ZeroShot,
    ):
        """A `keras.Model` with the methods of its task.

        The task is known only when the recipe is read, so the methods of all tasks are listed; a
        model has those of its own. Where a program knows which it has, it says `Generates`.
        """
