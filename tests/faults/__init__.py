"""A fuzzing suite: damaged and hostile inputs for everything that modelzoo reads or writes.

    python -m tests.faults                              all groups, about 16,000 cases
    python -m tests.faults --group gguf --group images  some groups
    python -m tests.faults --group gguf --seed 17       one case again, with its traceback
    python -m tests.faults --quick                      the few cases of the default test run

What may happen to a case:

    ok        the input was read
    refused   a `ModelzooError` with one clear message
    broken    internal  any other exception, the one that the command line calls an internal error
              unclear   a `ModelzooError` whose text nobody can use or print (see `outcome.py`)
              crash     the process died
              hang      over 10 s of CPU time, or 60 s of waiting
              memory    over 2 GB more than before
              ran       code of the input was run
              lost      a writer on a full disk, or a command that was killed, damaged or lost
                        something, or left litter

A group is a `Group` of one of the modules in `groups/`: `make` writes an input into an empty folder
from a seeded generator, `use` gives it to modelzoo as a user would. The same group and seed make
the same input each time. Cases run in children that are forked after the heavy imports; a child
handles many, and when it dies the case is named and the rest goes on in a new one (`children.py`).

A run can be interrupted: the next `python -m tests.faults` with the same `--out` goes on where it
was. It ends with a table, with the kinds of broken cases (group, exception, place, one seed to show
it again), and with all of it as JSON. The exit code is 1 where a case is broken that
`known.py` does not list.

Some cases are no inputs but commands, killed before one of their file operations and given again
(`groups/kills.py`): nothing may be half-written or lost, refused afterwards, or left behind.

To add a group, write a `Group` and add it to `groups/__init__.py`. To fix what is broken, show the
case again with `--seed`, add a test of its own beside the reader, and mend the reader.
"""
