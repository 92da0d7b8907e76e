"""Signing with a seed in memory."""

from keystead import suites
from keystead.suites import Suite


class SoftwareSigner:
    """A `Signer` whose private key is in this process, for as long as it is used."""

    def __init__(self, suite: Suite, seed: bytes) -> None:
        """Sign under `suite` with the private key that `seed` (32 bytes) stands for."""
        self._suite = suite
        self._seed = seed

    @property
    def public_key(self) -> bytes:
        """The raw public key."""
        return suites.public_key(self._suite, self._seed)

    def sign(self, payload: bytes) -> bytes:
        """Return the raw signature over `payload`."""
        return suites.sign(self._suite, self._seed, payload)
