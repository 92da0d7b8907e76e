"""TLS of servers: version 1.3, certificates that can be renewed while serving."""

import ssl
from pathlib import Path

import msgspec

from keystead.errors import ErrorCode, UsageError


class TlsFiles(msgspec.Struct, frozen=True):
    """Where a certificate and its key are.

    Attributes:
        certificate: file with the chain, PEM, the server's own certificate first.
        key: file with the private key, PEM, without a passphrase.
        old: whether TLS 1.2 is allowed, for peers that cannot do better.
    """

    certificate: Path
    key: Path
    old: bool = False


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Read certificate and key.

    Raises:
        UsageError: a file cannot be read, or key and certificate do not fit (usage.file).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if files.old else ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    try:
        # a passphrase is never asked for: the process has no terminal
        context.load_cert_chain(files.certificate, files.key, password="")
    except ssl.SSLError as error:
        raise UsageError(
            ErrorCode.FILE, "certificate and key do not fit, or are not PEM"
        ) from error
    except OSError as error:
        raise UsageError(
            ErrorCode.FILE, f"cannot read certificate or key: {error.strerror}"
        ) from error
    return context
