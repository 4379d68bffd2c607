"""Whether a bundle's model may be opened in this process."""

from __future__ import annotations

from modelzoo.runtime.bundle import Bundle
from modelzoo.runtime.trust import seen

__all__ = ["check"]


def check(bundle: Bundle, engine: str, package: str, trust: bool = False) -> None:
    """Return if the bundle's model may be opened: trusted, known, or checked now.

    A check reads the file without running it, then loads it and runs each signature once in a
    child process. A model that passes is remembered.

    Args:
        bundle: from `read_bundle`, which has compared the hashes.
        engine: the name of the engine that will open it.
        package: what that engine is installed as.
        trust: open it as it is.

    Raises:
        BundleError: the file is damaged, does more than compute, or ends the process that tries it.
        MissingDependencyError: the engine is not installed.
    """
    if trust or seen.is_known(bundle.manifest, package):
        return
    # What a known model does not need is not imported.
    from modelzoo.runtime.trust.examine import examine

    examine(bundle, engine)
    seen.remember_checked(bundle.manifest, package)
