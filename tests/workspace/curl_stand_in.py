"""What answers to `curl` where none is installed? Those options of it that the documentation uses, and no others."""

from __future__ import annotations

import argparse
import base64
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

ABSENT = shutil.which("curl") is None


def install(folder: Path) -> None:
    """Put a program `curl` into a folder that is, or will be, on the PATH."""
    program = folder / "curl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)


def main() -> int:
    """Send one request and print the body of the reply, as `curl` does: also of a refusal."""
    parser = argparse.ArgumentParser(prog="curl", add_help=False, allow_abbrev=False)
    parser.add_argument("url")
    parser.add_argument("-u", dest="user", required=True)
    parser.add_argument("-X", dest="method", default="POST")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("-d", dest="data", required=True)
    parser.add_argument("-s", action="store_true")
    given = parser.parse_args()
    headers = {"User-Agent": "curl-stand-in", **dict(line.split(": ", 1) for line in given.headers)}
    headers["Authorization"] = "Basic " + base64.b64encode(given.user.encode()).decode()
    # curl takes the line ends out of what it is given by -d only when it reads a file.
    request = urllib.request.Request(given.url, given.data.encode(), headers, method=given.method)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            print(reply.read().decode(), end="")
    except urllib.error.HTTPError as refusal:
        print(refusal.read().decode(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
