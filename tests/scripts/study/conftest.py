"""What several tests of the study look at: committed numbers."""

import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[3] / "docs" / "results"


@pytest.fixture(params=sorted(RESULTS.glob("study-*.json")), ids=lambda file: file.stem)
def committed(request):
    return json.loads(request.param.read_text(encoding="utf-8"))
