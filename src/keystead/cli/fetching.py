"""How commands reach others: through the fetch guard, with options for development networks."""

import os
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from keystead.errors import ErrorCode, UsageError

if TYPE_CHECKING:
    from keystead.transports.client import HttpTransport
    from keystead.transports.guard import FetchPolicy

Result = TypeVar("Result")

NETWORK: Final = "KEYSTEAD_NETWORK"


class Network(msgspec.Struct, frozen=True):
    """Whom a command may reach.

    Attributes:
        allow_http: also without TLS.
        allow_private: also in private networks.
    """

    allow_http: bool = False
    allow_private: bool = False

    def policy(self) -> "FetchPolicy":
        """Return the policy that options and environment ask for.

        Raises:
            UsageError: the environment asks for a network that is not known (usage.argument).
        """
        from dataclasses import replace  # noqa: PLC0415 - for --help

        from keystead.transports.guard import FetchPolicy  # noqa: PLC0415 - for --help

        match os.environ.get(NETWORK, ""):
            case "":
                policy = FetchPolicy()
            case "local":
                policy = FetchPolicy.local()
            case _:
                raise UsageError(
                    ErrorCode.ARGUMENT, f"{NETWORK} is neither empty nor local", hint="unset it"
                )
        return replace(policy, allow_http=self.allow_http, allow_private=self.allow_private)

    def transport(self, *, strangers: bool = False) -> "HttpTransport":
        """Make a transport; nothing is connected before a call.

        Args:
            strangers: whether the URLs come from strangers, so that calls are rationed.

        Raises:
            UsageError: as `policy`.
        """
        from keystead.transports.client import HttpTransport  # noqa: PLC0415 - for --help

        policy = self.policy()
        return HttpTransport(policy.for_strangers() if strangers else policy)


def network_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Give a command the options that say whom it may reach, as one argument `network`."""

    @click.option(
        "--allow-http",
        is_flag=True,
        help="For development networks: reach hosts without TLS.",
    )
    @click.option(
        "--allow-private",
        is_flag=True,
        help=f"For development networks: reach private addresses; for this machine ${NETWORK}=local.",
    )
    @wraps(command)
    def with_network(*args: Any, **options: Any) -> Result:  # noqa: ANN401 - of any command
        options["network"] = Network(options.pop("allow_http"), options.pop("allow_private"))
        return command(*args, **options)

    return with_network
