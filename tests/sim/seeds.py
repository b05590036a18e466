"""The seeds of a scene: one in every test run, the others in the slow runs."""

import pytest

SEEDS = (1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3)))
