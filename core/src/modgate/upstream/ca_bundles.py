"""The authorities that sign engines' certificates, from PEM files that the operator names."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from ssl import SSLContext, create_default_context

from modgate.marks import Mark, mark_of

log = logging.getLogger(__name__)


class CaBundles:
    """TLS contexts by PEM file.  A file that was replaced counts from the next connection on."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[Mark, SSLContext]] = {}

    @cached_property
    def machine(self) -> SSLContext:
        """The context that trusts whom this machine trusts.

        One for all engines: it holds a megabyte, and to read it takes the event loop 20 ms.
        """
        made = create_default_context()
        made.set_alpn_protocols(["http/1.1"])
        return made

    def of(self, ca: str) -> SSLContext | None:
        """The context that trusts the authorities in a file; None for no file.

        A file that cannot be read now, which is told once, counts as it was when it last could;
        OSError when it never could be.
        """
        if not ca:
            return None
        mark, known = mark_of(Path(ca)), self._read.get(ca)
        if known is not None and known[0] == mark:
            return known[1]
        try:
            context = create_default_context(cafile=ca)
        except OSError as error:
            if known is None:
                raise
            words = {"file": ca, "reason": type(error).__name__}
            log.error("certificates cannot be read; those of before count", extra=words)
            context = known[1]
        self._read[ca] = mark, context
        return context

    def trust(self, ca: str) -> Callable[[], SSLContext]:
        """Says whom to trust at the moment: the authorities in a file; for no file, the machine's.

        OSError now for a file that was never readable.
        """

        def now() -> SSLContext:
            return self.of(ca) or self.machine

        now()
        return now
