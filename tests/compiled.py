"""What the tests need to know of Numba."""

import os

import pytest

compiled_only = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT") == "1",
    reason="compilation is switched off by NUMBA_DISABLE_JIT",
)
