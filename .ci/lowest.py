"""Print the lower bounds of pyproject.toml as a constraints file, so that what it promises is what is tested.

usage: lowest.py [EXTRA ...]    the base dependencies and those of the named extras
"""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
requirements = list(project["dependencies"])
for extra in sys.argv[1:]:
    requirements += project["optional-dependencies"][extra]
lowest = {}
for requirement in requirements:
    match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*>=\s*([0-9.]+)", requirement)
    if match:
        lowest[match[1]] = match[2]
    elif not requirement.startswith("isochat["):
        sys.exit(f"{requirement!r} has no lower bound")
print("\n".join(f"{name}=={version}" for name, version in lowest.items()))
