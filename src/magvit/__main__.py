"""`python -m magvit` is the `magvit` command; `torchrun -m magvit train ...` starts it in several processes."""

import sys

from magvit.cli import main

if __name__ == "__main__":
    sys.exit(main())
