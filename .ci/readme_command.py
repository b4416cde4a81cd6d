"""Print the README's command line that contains a word, so that CI runs what the README says.

usage: readme_command.py WORD
"""

import re
import sys
from pathlib import Path

text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
found = [line for line in lines if sys.argv[1] in line]
if len(found) != 1:
    sys.exit(f"{len(found)} commands of the README contain {sys.argv[1]!r}; expected one")
print(found[0])
