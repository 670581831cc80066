"""`python -m babygrad` is the command `babygrad`."""

import sys

from babygrad.cli import main

sys.exit(main())
