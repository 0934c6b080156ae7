from heavy_plugin import HEAVY


def heavy() -> list[str]:
    return list(HEAVY)
