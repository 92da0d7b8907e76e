"""Real PKCS#11 tokens in a folder, by SoftHSM 2; without it these tests fail.

SoftHSM reads `SOFTHSM2_CONF` each time that a process starts its library.
"""

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PIN = b"1948-canary-pin"
# Where distributions put the library.
_PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)


@dataclass(frozen=True, slots=True)
class SoftHsm:
    """Tokens in a folder.

    Attributes:
        module: path of the library.
        tool: path of the program that sets tokens up.
        folder: where configuration and tokens are.
    """

    module: str
    tool: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What processes need to find the tokens."""
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    def configure(self, *, without: str = "") -> None:
        """Write the configuration, of tokens that lack the mechanism `without`."""
        tokens = self.folder / "tokens"
        tokens.mkdir(parents=True, exist_ok=True)
        (self.folder / "softhsm2.conf").write_text(
            f"directories.tokendir = {tokens}\n"
            "objectstore.backend = file\n"
            "log.level = ERROR\n"
            # 2.6.1 ignores the first name behind the minus.
            f"slots.mechanisms = {f'-NONE,{without}' if without else 'ALL'}\n"
        )

    def add(self, label: str, *, pin: bytes = PIN) -> Path:
        """Set a token up and return its folder, which can be moved away and back."""
        before = set((self.folder / "tokens").iterdir())
        given = ("--label", label, "--pin", pin.decode(), "--so-pin", "so-12345678")
        subprocess.run(
            [self.tool, "--init-token", "--free", *given],
            env=self.environment,
            check=True,
            capture_output=True,
        )
        (added,) = set((self.folder / "tokens").iterdir()) - before
        return added

    def sessions(self) -> int:
        """Return how many sessions this process has, which must have started the library."""
        library = ctypes.CDLL(self.module)
        info = (ctypes.c_ulong * 4)()  # CK_SESSION_INFO
        # Sessions and objects are numbered from 1 on.
        handles = map(ctypes.c_ulong, range(1, 1000))
        return sum(library.C_GetSessionInfo(handle, info) == 0 for handle in handles)


def softhsm(folder: Path) -> SoftHsm:
    """Return SoftHSM with its tokens in `folder`, none at first."""
    module = next((path for path in _PLACES if Path(path).is_file()), None)
    tool = shutil.which("softhsm2-util")
    if module is None or tool is None:
        pytest.fail("SoftHSM 2 is not installed; install it with: apt-get install softhsm2")
    found = SoftHsm(module, tool, folder)
    found.configure()
    return found
