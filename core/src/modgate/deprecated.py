"""Every deprecation in one place: what warns now, and the minor version in which it goes."""

from __future__ import annotations

import warnings


class ModgateDeprecationWarning(DeprecationWarning):
    """Something of the plugin API that goes away in two minor versions."""


def warn(what: str, instead: str, gone_in: str, *, stacklevel: int = 3) -> None:
    """Tell the caller what to use instead and when the old form goes."""
    message = f"{what} is deprecated and goes in modgate {gone_in}; use {instead}"
    warnings.warn(message, ModgateDeprecationWarning, stacklevel=stacklevel)
