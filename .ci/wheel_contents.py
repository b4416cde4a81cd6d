"""Check that a wheel holds the four packages with their types and cases, and nothing that runs by itself.

usage: wheel_contents.py WHEEL
"""

import sys
import zipfile

PACKAGES = ("isochat", "isochat_adapters", "isochat_conformance", "isochat_workspace")
names = zipfile.ZipFile(sys.argv[1]).namelist()
problems = [f"no {package}/py.typed" for package in PACKAGES if f"{package}/py.typed" not in names]
problems += [n for n in names if n.split("/")[0] not in PACKAGES and ".dist-info/" not in n]
problems += [n for n in names if n.endswith((".pth", ".so", ".pyc"))]
if not any(n.startswith("isochat_conformance/cases/") and n.endswith(".json") for n in names):
    problems.append("no conformance cases")
if not any(n.endswith("licenses/LICENSE") for n in names):
    problems.append("no LICENSE")
if problems:
    sys.exit("the wheel is wrong: " + "; ".join(problems))
print(f"{len(names)} files, as they should be")
