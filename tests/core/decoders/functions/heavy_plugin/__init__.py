"""A plugin whose package imports what no decoder needs."""

import pluggy
import pydantic

HEAVY = (pluggy.__name__, pydantic.__name__)
