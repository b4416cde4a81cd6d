"""What does an exit code mean, and how does a failure look on the command line?"""

from __future__ import annotations

import sys
import traceback
from typing import NoReturn

from isochat.errors import ChatError, ConfigurationError, InvalidInputError

OK = 0
DIFFERENT = 1
NOTHING_SENT = 2
FAILED = 3
INTERRUPTED = 130

EXPLAINED = """\b
Exit codes:
  0    done
  1    results differ, or a conformance case fails
  2    wrong usage, input or configuration; nothing was sent
  3    the call failed at the service or on the way
  130  interrupted"""


def code_of(error: ChatError) -> int:
    """The exit code for ``error``."""
    return NOTHING_SENT if isinstance(error, ConfigurationError | InvalidInputError) else FAILED


def fail(error: ChatError, debug: bool) -> NoReturn:
    """Say ``error`` in one line on stderr and end the process with its code."""
    if debug:
        traceback.print_exception(error)
    else:
        sys.stderr.write(f"isochat: {' '.join(str(error).split())}\n")
    raise SystemExit(code_of(error))
