"""Data for the tests: generated always, the real files where they are or can be had."""

import gzip
import pickle

import pytest

from segjax.data import fetch as fetching
from segjax.data.purdue.synthetic import _record, synthetic
from segjax.errors import SegjaxError


@pytest.fixture(scope="session")
def small():
    """Twelve generated images."""
    return synthetic(12, seed=3)


@pytest.fixture(scope="session")
def small_object(small):
    """The same as the object that a file pickles."""
    return [{i: _record(small, i) for i in range(len(small))}, dict(small.label_map)]


@pytest.fixture(scope="session")
def write_pickle(tmp_path_factory):
    """Writes bytes or an object as a .gz file and returns its path."""

    def write(content, *, protocol=2):
        data = content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol)
        path = tmp_path_factory.getbasetemp() / "file.gz"
        path.write_bytes(gzip.compress(data, 1, mtime=0))
        return path

    return write


@pytest.fixture(scope="session")
def real_files():
    """The four real files: where they are, else fetched once for the user."""
    try:
        return fetching.fetch()
    except SegjaxError as error:
        pytest.skip(f"the real data files are not here and cannot be fetched: {error}")
