"""Start-up errors as a person wants to read them: every mistake on a line, exit code 1.

(2 is click's, for a command line that cannot be read.)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import click

from modgate.problems import ConfigError, PluginError
from modgate.tracebacks import plain


def check_url(url: str) -> None:
    """UsageError for a gateway's address that is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.UsageError(f"--url reads http://HOST:PORT, and not '{url}'")


def check_key(key: str) -> None:
    """UsageError for a key that no header can carry."""
    if not (key.isascii() and key.isprintable()):
        raise click.UsageError("the key has characters that no key has")


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print what is wrong and exit, instead of a traceback."""
    try:
        yield
    except ConfigError as error:
        for problem in sorted(error.problems, key=lambda each: (each.file, each.line)):
            click.echo(str(problem), err=True)
        count = len(error.problems)
        click.echo(f"{count} problem{'s' if count != 1 else ''}", err=True)
        sys.exit(1)
    except PluginError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    except BrokenPipeError:
        raise  # who reads what is printed wants no more: click ends it without a word
    except OSError as error:
        click.echo(plain(error), err=True)
        sys.exit(1)
