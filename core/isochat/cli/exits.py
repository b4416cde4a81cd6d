"""What does an exit code mean, and how does a failure look on the command line?"""

from __future__ import annotations

import re
import sys
import traceback
from typing import NoReturn

from isochat.cli.printable import printable
from isochat.errors import ChatError, ConfigurationError, InvalidInputError
from isochat.transport.key_log import key_log_error

OK = 0
DIFFERENT = 1
NOTHING_SENT = 2
FAILED = 3
INTERRUPTED = 130

EXPLAINED = """\b
Exit codes:
  0    done
  1    results differ, a conformance case fails, or the local model is not installed
  2    wrong usage, input or configuration; nothing was sent
  3    the call failed at the service or on the way; of a stream, what had come is printed
  130  interrupted"""


_WORDS = {
    "token=": "DATABRICKS_TOKEN",
    "config_file=": "ISOCHAT_CONFIG",
    "pass allow_insecure=True": "set ISOCHAT_ALLOW_INSECURE=true",
    "longer silences with timeout=": "longer silences with ISOCHAT_TIMEOUT",
    "Use error.partial, or ask again": "What had come is printed; ask again",
    "Leave stream=True out": "Leave --stream out",
}


def code_of(error: Exception) -> int:
    """The exit code for ``error``."""
    return NOTHING_SENT if isinstance(error, ConfigurationError | InvalidInputError) else FAILED


def fail(error: Exception, debug: bool) -> NoReturn:
    """Say ``error`` in one line on stderr and end the process with its code."""
    error = key_log_error(error) or error
    if debug:
        traceback.print_exception(error)
    elif isinstance(error, ChatError):
        sys.stderr.write(f"isochat: {in_words_of_the_shell(_one_line(str(error)))}\n")
    else:
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        sys.stderr.write(f"isochat: {_one_line(said)} (--debug shows where)\n")
    raise SystemExit(code_of(error))


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def in_words_of_the_shell(text: str) -> str:
    """Remedies name arguments of the library; here these are options, or variables where there is no option."""
    # A token is no option: it would stand in the shell's history.
    text = text.replace("Pass host= and token=, set DATABRICKS_HOST", "Set DATABRICKS_HOST")
    text = re.sub(r"(?<![\w-])(endpoint|host|profile|target|backend|fallback)=(?![\w'\"])", r"--\1", text)
    for ours, theirs in _WORDS.items():
        text = text.replace(ours, theirs)
    return text
