"""``python -m noinfra.cli``: the same as the ``noinfra`` program."""

import sys

from noinfra.cli import main

sys.exit(main())
