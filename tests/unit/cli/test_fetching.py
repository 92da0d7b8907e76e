"""Commands reach public hosts by HTTPS, unless options or environment say otherwise."""

import click
import pytest
from click.testing import CliRunner

from keystead.cli.fetching import NETWORK, Network, network_options
from keystead.errors import ErrorCode, TransportError, UsageError
from keystead.ports.transport import Call
from keystead.transports.guard import FetchPolicy


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NETWORK, raising=False)


def test_the_default_is_the_strict_policy() -> None:
    """Without options a command reaches public hosts by HTTPS only."""
    assert Network().policy() == FetchPolicy()


def test_development_networks_are_named_by_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`local` is this machine; options add to it; another word is a mistake."""
    monkeypatch.setenv(NETWORK, "local")
    assert Network().policy() == FetchPolicy.local()
    policy = Network(allow_http=True, allow_private=True).policy()
    assert policy == FetchPolicy(allow_http=True, allow_loopback=True, allow_private=True)
    monkeypatch.setenv(NETWORK, "everything")
    with pytest.raises(UsageError) as caught:
        Network().transport()
    assert caught.value.code is ErrorCode.ARGUMENT


def test_a_command_gets_the_options_as_one_argument() -> None:
    """The decorator turns both options into a network."""
    seen: list[Network] = []

    @click.command()
    @network_options
    def command(network: Network) -> None:
        seen.append(network)

    for given in ([], ["--allow-http"], ["--allow-private"]):
        assert CliRunner().invoke(command, given).exit_code == 0
    assert seen == [Network(), Network(allow_http=True), Network(allow_private=True)]


def test_a_transport_keeps_to_the_policy() -> None:
    """What a command calls through is guarded; strangers are rationed too."""
    for strangers in (False, True):
        transport = Network().transport(strangers=strangers)
        with pytest.raises(TransportError) as caught:
            transport.call(Call("GET", "https://127.0.0.1/"))
        assert caught.value.code is ErrorCode.ADDRESS_REFUSED
