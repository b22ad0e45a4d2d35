"""Check what a wheel holds: the package, its data, its licence, nothing else. Usage: contents.py WHEEL."""

import sys
import zipfile
from pathlib import PurePosixPath

NEEDED = (
    "masfire/__init__.py",
    "masfire/py.typed",
    "masfire/pytest_plugin/__init__.py",
    "masfire/data/taxonomies/masfire.yaml",
    "masfire/data/contracts/tools.yaml",
    "masfire/contracts/contract.schema.json",
    "masfire/contracts/language/formula.lark",
)
METADATA = ("licenses/LICENSE", "entry_points.txt", "METADATA", "RECORD", "WHEEL")


def main(path: str) -> int:
    """Print what is missing or out of place; return how many such things there are."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        [points] = [wheel.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    complaints = [f"missing: {name}" for name in NEEDED if name not in names]
    for name in names:
        top = PurePosixPath(name).parts[0]
        known = name.startswith("masfire/") or (top.endswith(".dist-info") and name.endswith(METADATA))
        if not known or "__pycache__" in name:
            complaints.append(f"out of place: {name}")
    lines = ("masfire = masfire.cli:main", "masfire = masfire.pytest_plugin")
    complaints += [f"missing entry point: {line}" for line in lines if line not in points]
    print(f"{path}: {len(names)} files", *complaints, sep="\n")
    return len(complaints)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
