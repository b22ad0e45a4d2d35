"""What follows claims in a run needs neither numpy nor networkx."""

from __future__ import annotations

import subprocess
import sys


def test_following_claims_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "import masfire.claims, masfire.genealogy.cascade\n"
        "import masfire.genealogy.graph, masfire.genealogy.seeding\n"
        "heavy = {'numpy', 'scipy', 'networkx', 'pydantic', 'yaml', 'openai', 'langgraph', 'pytest'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
