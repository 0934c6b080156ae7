import sys

from heavy_plugin.table import SIZE


def loaded() -> list[object]:
    return [SIZE, *(name for name in ("aiohttp", "pluggy", "pydantic") if name in sys.modules)]
