import pytest


@pytest.fixture(autouse=True)
def _strict(strict):
    """Counts and scores say where they change a dtype or a rank, in a trace too."""
