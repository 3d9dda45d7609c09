import pytest


@pytest.fixture(autouse=True)
def _strict(strict):
    """Layers and networks say where they change a dtype or a rank."""
