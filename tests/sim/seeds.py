"""The seeds with which a scene is played: one with every test run, the others with the slow ones."""

import pytest

SEEDS = (1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3)))
