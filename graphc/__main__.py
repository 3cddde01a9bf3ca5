"""`python -m graphc` is the `graphc` command."""

import sys

from graphc.inspect.cli import main

if __name__ == "__main__":
    sys.exit(main())
