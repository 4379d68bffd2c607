"""`python -m modelzoo` is the command `modelzoo`."""

import sys

from modelzoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
