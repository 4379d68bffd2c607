"""Files written whole or not at all, read within bounds; only what modelzoo wrote is replaced."""

from modelzoo.files.ours import foreign, values_digest, write_mark
from modelzoo.files.reading import check_file, check_json, parse_json, read_file, read_json
from modelzoo.files.temporary import scratch
from modelzoo.files.writing import new_directory, replacing, reserved, write_atomic

__all__ = [
    "check_file",
    "check_json",
    "foreign",
    "new_directory",
    "parse_json",
    "read_file",
    "read_json",
    "replacing",
    "reserved",
    "scratch",
    "values_digest",
    "write_atomic",
    "write_mark",
]
