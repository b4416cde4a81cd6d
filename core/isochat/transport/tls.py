"""Which certificates does a connection trust? The same on both kinds of wire."""

from __future__ import annotations

import os
import ssl

from isochat.errors import ConfigurationError
from isochat.transport.key_log import key_log_error, named_as_culprit


def trusting(ca_bundle: str | None, trust_env: bool) -> ssl.SSLContext:
    """The TLS context of a client object; making it reads the certificates from disk.

    Args:
        ca_bundle: A file or folder of certificate authorities, in place of the system's.
        trust_env: Read ``SSL_CERT_FILE`` and ``REQUESTS_CA_BUNDLE``, in this order.

    Raises:
        ConfigurationError: the file cannot be used, or that of ``SSLKEYLOGFILE`` not be written.
    """
    with named_as_culprit():
        return _trusting(ca_bundle, trust_env)


def _trusting(ca_bundle: str | None, trust_env: bool) -> ssl.SSLContext:
    source, path = "ca_bundle", ca_bundle
    if path is None and trust_env:
        source, path = next(
            ((n, os.environ[n]) for n in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if os.environ.get(n)),
            (source, None),
        )
    if path is None:
        if trust_env:
            return ssl.create_default_context()
        # The default context reads SSL_CERT_FILE through OpenSSL; the compiled-in paths do not.
        paths = ssl.get_default_verify_paths()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        file, folder = paths.openssl_cafile, paths.openssl_capath
        context.load_verify_locations(file if os.path.isfile(file) else None, folder if os.path.isdir(folder) else None)
        return context
    try:
        where = (None, path) if os.path.isdir(path) else (path, None)
        if trust_env:
            return ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=where[0], capath=where[1])
        # The default context opens the file of SSLKEYLOGFILE.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(*where)
        return context
    except (OSError, ssl.SSLError) as error:
        if key_log_error(error):
            raise
        raise ConfigurationError(
            f"the certificate file of {source} cannot be used: {path}: {error}",
            remedy="Name a PEM file that can be read",
        ) from None
