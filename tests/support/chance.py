"""Randomness that can be had again: every test with chance in it prints its seed."""

import os
import random
import sys

VARIABLE = "POINTSMAN_TEST_SEED"


def new_seed() -> int:
    """A seed, printed; POINTSMAN_TEST_SEED gives an old one again."""
    seed = int(os.environ.get(VARIABLE, random.SystemRandom().randrange(2**32)))
    sys.stdout.write(f"{VARIABLE}={seed}\n")
    return seed
