"""Makes a module callable: `modelzoo.build("gpt-small")` and `modelzoo.build.load` both work.

`modelzoo.build` names a function and the file that it is in. Whoever imports the file puts the
module under that name, so the module itself answers the call.
"""

from __future__ import annotations

import sys
from types import ModuleType

__all__ = ["make_callable"]


def make_callable(module: str, function: str) -> None:
    """A call of `module` becomes a call of its `function`; a module says it of itself."""

    class CallableModule(ModuleType):
        def __call__(self, *args: object, **kwargs: object) -> object:
            return getattr(self, function)(*args, **kwargs)

    sys.modules[module].__class__ = CallableModule
