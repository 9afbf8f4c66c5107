from __future__ import annotations

import signal

# Where a shell started this in the background, Ctrl-C is ignored, here and in every process that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
