"""The table of abilities names methods of the runtime and options of `modelzoo run`."""

from __future__ import annotations

import argparse

from modelzoo.cli import run
from modelzoo.runtime.abilities.known import ABILITIES
from modelzoo.runtime.model import Model


def test_an_ability_is_a_method_and_its_options_are_those_of_run():
    parser = run.add_parser(argparse.ArgumentParser().add_subparsers())
    known = {action.dest for action in parser._actions}
    own = [option for ability in ABILITIES.values() for option in ability.options]
    assert set(own) <= known and len(set(own)) == len(own) > 5
    assert all(callable(getattr(Model, name)) for name in ABILITIES)
