"""Where campaigns begin to count; a failure names the number it had."""

import os

SEED = int(os.environ.get("FLOWRUNNER_CRASH_SEED", "1"))
