"""With which certificates does the fault server speak TLS? They are made on the spot, for this run alone."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from isochat_conformance.fault_row import Certificate

if TYPE_CHECKING:
    import trustme


class Authority:
    """A certificate authority that clients trust, and one that they do not.

    Args:
        folder: Where its own certificate is written, as :attr:`bundle`.

    Raises:
        ModuleNotFoundError: trustme is not installed; the message says how to get it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import trustme
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "the TLS faults make certificates with trustme: pip install 'isochat[conformance]'", name=error.name
            ) from None
        self._trusted = trustme.CA()
        self._stranger = trustme.CA()
        self._contexts: dict[Certificate, ssl.SSLContext] = {}
        self.bundle = str(folder / "authority.pem")
        self._trusted.cert_pem.write_to_path(self.bundle)

    def context(self, certificate: Certificate) -> ssl.SSLContext:
        """A server's side of TLS, with that certificate."""
        if certificate not in self._contexts:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._issue(certificate).configure_cert(context)
            self._contexts[certificate] = context
        return self._contexts[certificate]

    def _issue(self, certificate: Certificate) -> trustme.LeafCert:
        now = datetime.now(UTC)
        issue: Callable[..., trustme.LeafCert] = self._trusted.issue_cert
        match certificate:
            case "stranger":
                return self._stranger.issue_cert("localhost")
            case "other name":
                return issue("other.example")
            case "expired":
                return issue("localhost", not_before=now - timedelta(days=2), not_after=now - timedelta(days=1))
            case "not yet valid":
                return issue("localhost", not_before=now + timedelta(days=1))
        return issue("localhost")
