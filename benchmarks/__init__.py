"""Benchmarks of babygrad; see README.md in this folder."""

import sys
from pathlib import Path

# Run in the checkout's root, `import babygrad` would find the source folder, which has no compiled
# engine unless the installation is editable. The installed package goes first.
_root = Path(__file__).resolve().parent.parent
sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != _root] + [str(_root)]
