"""The conformance kit for plugin authors: is what a plugin brings as good as what the core has?

    import pytest
    from modelzoo.testing import plugin_checks

    @pytest.mark.parametrize("check", plugin_checks("acme"), ids=str)
    def test_plugin(check):
        check()

Collecting imports neither the plugin nor Keras: it reads metadata and recipes. What each check
holds is in docs/plugins.md.
"""

from modelzoo.testing.check import Check, CheckFailure, Skipped
from modelzoo.testing.plan import plugin_checks

__all__ = ["Check", "CheckFailure", "Skipped", "plugin_checks"]
