"""Options and the end of commands that serve: `keystead witness serve` and its like."""

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from keystead.errors import ErrorCode, UsageError

if TYPE_CHECKING:
    from keystead.services.running import Binding, Listening, OpenService

Result = TypeVar("Result")
_PORT = click.IntRange(0, 65_535)
_FILE = click.Path(path_type=Path)


def serving_options(port: int) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Give a command the options of a server, as arguments `binding` and `json_output`.

    Args:
        port: port if none is asked for.
    """

    def decorated(command: Callable[..., Result]) -> Callable[..., Result]:
        @click.option(
            "--host", default="127.0.0.1", show_default=True, help="Address to listen on."
        )
        @click.option(
            "--port", type=_PORT, default=port, show_default=True, help="Port; 0: any free one."
        )
        @click.option("--public", is_flag=True, help="Let other machines connect.")
        @click.option(
            "--behind-proxy",
            is_flag=True,
            help="A proxy ends TLS, and adds the client's address to X-Forwarded-For.",
        )
        @click.option("--tls-cert", type=_FILE, help="Certificate chain, PEM; SIGHUP rereads it.")
        @click.option("--tls-key", type=_FILE, help="Private key of the certificate, PEM.")
        @click.option("--tls12", is_flag=True, help="Allow TLS 1.2 too.")
        @click.option("--metrics-port", type=_PORT, help="Serve metrics on this port of 127.0.0.1.")
        @click.option("--json", "json_output", is_flag=True, help="Announce as JSON.")
        @wraps(command)
        def with_binding(*args: Any, **options: Any) -> Result:  # noqa: ANN401 - of any command
            options["binding"] = _binding(options)
            return command(*args, **options)

        return with_binding

    return decorated


def _binding(options: dict[str, Any]) -> "Binding":
    """Take the options of a server out of those of a command."""
    try:
        from keystead.services.running import Binding, check_binding  # noqa: PLC0415 - for --help
        from keystead.services.tls import TlsFiles  # noqa: PLC0415 - for --help
    except ModuleNotFoundError as error:
        raise UsageError(
            ErrorCode.ARGUMENT,
            "the packages that servers need are not installed",
            hint="install them with: pip install 'keystead[server]'",
        ) from error
    certificate, key = options.pop("tls_cert"), options.pop("tls_key")
    old = options.pop("tls12")
    if (certificate is None) != (key is None):
        raise UsageError(ErrorCode.ARGUMENT, "a certificate and its key are needed together")
    binding = Binding(
        host=options.pop("host"),
        port=options.pop("port"),
        public=options.pop("public"),
        behind_proxy=options.pop("behind_proxy"),
        tls=None if certificate is None else TlsFiles(certificate, key, old),
        metrics_port=options.pop("metrics_port"),
    )
    check_binding(binding)
    return binding


def serve(
    open_service: "OpenService",
    binding: "Binding",
    *,
    json_output: bool,
    listening: "Callable[[Listening], None] | None" = None,
) -> None:
    """Serve until the command is told to stop.

    Args:
        open_service: opens the service.
        binding: where to listen.
        json_output: announce as JSON.
        listening: is told where it listens, before that is announced.

    Raises:
        KeysteadError: as `keystead.services.running.run`.
    """
    from keystead.services.running import run  # noqa: PLC0415 - for --help

    def announce(where: "Listening") -> None:
        if listening is not None:
            listening(where)
        if json_output:
            content = {"listening": where.listening, "metrics": where.metrics or None}
            click.echo(json.dumps(content))  # one line, so that programs know when it is whole
        else:
            click.echo(f"listening on {where.listening}")

    run(open_service, binding, announce)
