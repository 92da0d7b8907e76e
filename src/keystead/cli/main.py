"""Entry point of the `keystead` command. Commands are imported when they are called."""

import importlib
import sys

import click

from keystead.cli.output import ExitCode, exit_code, say_error
from keystead.errors import KeysteadError

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
# Name -> module and attribute of the command, and its line in the help.
_COMMANDS = {
    "init": ("keystead.cli.init:init", "Make a wallet."),
    "unlock": ("keystead.cli.locking:unlock", "Keep the wallet open for a while."),
    "lock": ("keystead.cli.locking:lock", "Lock the wallet."),
    "passphrase": ("keystead.cli.locking:passphrase", "Replace the passphrase of the wallet."),
    "status": ("keystead.cli.status:status", "Show the wallet and what to do next."),
    "id": ("keystead.cli.id:identifiers", "Make identifiers, rotate and export them."),
    "key": ("keystead.cli.key:key", "See keys and what depends on them; end and import them."),
    "token": ("keystead.cli.token:token", "Keep keys in a token."),
    "delegation": (
        "keystead.cli.delegation:delegation",
        "Have keys approved by another identifier.",
    ),
    "outbox": ("keystead.cli.outbox:outbox", "Collect receipts of witnesses that are missing."),
    "oobi": ("keystead.cli.oobi:oobi", "Find logs of others, and let others find yours."),
    "contact": ("keystead.cli.contact:contact", "Keep identifiers of others."),
    "sign": ("keystead.cli.sign:sign", "Sign a document."),
    "verify": ("keystead.cli.verify:verify", "Tell what a signature is worth."),
    "doctor": ("keystead.cli.doctor:doctor", "Check the wallet whole; repair what can be."),
    "history": ("keystead.cli.history:history", "Show what was done with the wallet."),
    "log": ("keystead.cli.log:log", "Verify, compare and watch key event logs."),
    "witness": ("keystead.cli.witness:witness", "Run a witness for others."),
    "watcher": ("keystead.cli.watcher:watcher", "Follow the logs of others; prove duplicity."),
    "demo": ("keystead.cli.demo:demo", "Show everything with real processes."),
    "network": ("keystead.cli.network:network", "Run a network for development."),
    "bench": ("keystead.cli.bench:bench", "Measure what servers bear."),
    "inspect": ("keystead.cli.inspect:inspect", "Show every element of a stream."),
}
_ALIASES = {"identifier": "id"}


class _Commands(click.Group):
    """Subcommands that are imported when they are called, since imports cost time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        cmd_name = _ALIASES.get(cmd_name, cmd_name)
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  keystead init                             make a wallet: the first step
  keystead unlock                           so that commands need no passphrase for a while
  keystead id create alice                  make an identifier
  keystead sign FILE --as alice             sign a document
  keystead verify FILE --log alice.cesr     tell what the signature is worth; needs no wallet
  keystead log verify alice.cesr            verify every log in a file

\b
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not valid or duplicitous,
4 waiting for others, 5 peer unreachable.""",
)
@click.version_option(package_name="keystead", prog_name="keystead")
def keystead() -> None:
    """Keys and identifiers that nobody can take away.

    Every identifier has a log of signed key events that anyone can verify without trusting
    anyone.
    """


def main() -> None:
    """Run the command line and exit."""
    try:
        code = _run()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the result has enough; Python must not complain when it flushes.
        sys.stdout = None
        code = ExitCode.FAILED
    except OSError as error:
        sys.stdout = None
        say_error(f"cannot write the result: {error.strerror}", "free space, or write elsewhere")
        code = ExitCode.FAILED
    sys.exit(code)


def _run() -> int:
    """Run the command line and return how it ended."""
    if sys.stdout is None:
        say_error("standard output is closed", "give it a place, for instance > result.txt")
        return ExitCode.FAILED
    try:
        # Click returns the code of `Context.exit`, or what the command returns: nothing.
        return keystead.main(standalone_mode=False) or ExitCode.DONE
    except KeysteadError as error:
        say_error(str(error), error.hint)
        return exit_code(error)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "keystead"
        told = error.format_message()
        if told.startswith("Got unexpected extra argument"):
            told = "too many arguments"  # not repeated: it may be a passphrase at the wrong place
        say_error(f"{told} [usage.argument]", f"see: {path} --help")
    except UnicodeEncodeError as error:
        return _tell_no_text(error)
    except (MemoryError, RecursionError) as error:
        error.__traceback__ = None  # frees what took the room
        say_error("this is too much for the memory of the machine", "try it with less at a time")
        return ExitCode.FAILED
    except (KeyboardInterrupt, click.Abort):
        say_error("interrupted")
        return _INTERRUPTED
    return ExitCode.USAGE


def _tell_no_text(error: UnicodeEncodeError) -> int:
    """Tell of text that has no bytes; what was at work was undone.

    The system gives bytes of arguments that are no text as surrogates, which can name a file but
    nothing else.
    """
    if "surrogates" in error.reason:
        what = "an argument has bytes that are no text, and is no name of a file"
        say_error(f"{what} [usage.argument]", "check what the terminal or the script has passed")
        return ExitCode.USAGE
    say_error(f"the result cannot be written as {error.encoding}", "set PYTHONIOENCODING=utf-8")
    return ExitCode.FAILED
