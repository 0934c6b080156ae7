"""The command `modgate`.  Each command is a file; nothing heavy is imported before it is needed."""

from __future__ import annotations

from errno import ENOSPC

import click


class Lazy(click.Group):
    """Commands by name -> module; imported when called or when help lists them."""

    commands_by_name = (
        "serve",
        "check",
        "plugins",
        "models",
        "keys",
        "tenants",
        "audit",
        "ledger",
        "usage",
        "cost",
        "rerate",
        "receipt",
        "explain",
        "sim",
        "try",
        "licences",
        "version",
    )

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a newcomer needs them."""
        return list(self.commands_by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in self.commands_by_name:
            return None
        from importlib import import_module

        module = import_module(f"modgate.cli.{cmd_name}_")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A name that is no command is guessed at."""
        if args and args[0] not in self.commands_by_name and not args[0].startswith("-"):
            from modgate.config.guess import did_you_mean

            guess = did_you_mean(args[0], self.commands_by_name)
            ctx.fail(f"no command '{args[0]}'{guess}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """A disk that has no room for what is printed is told in a line."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno != ENOSPC:
                raise
            raise click.ClickException(f"cannot write: {error.strerror}") from None


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """One gateway, seven modalities: LLM, VLM, ASR, TTS, OCR, embedding, rerank.

    \b
    Start here:   modgate serve
    Then ask it:  modgate try llm
    """
