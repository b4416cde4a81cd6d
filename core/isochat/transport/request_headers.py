"""Which of a client's request headers go on the wire?

An allow-list. Clients pick up headers from their surroundings (``OPENAI_ORG_ID``, ``OPENAI_CUSTOM_HEADERS``,
cookies of an earlier reply; facts seen in openai 1.109 to 3.54), and those belong to other services. What
authenticates comes from isochat's one owner of credentials, so a foreign key never leaves the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from isochat.version import __version__

_PASSED = frozenset({"accept", "content-type", "user-agent"})
_PASSED_PREFIXES = ("x-stainless-", "x-mlflow-", "x-databricks-")
# openai's `with_raw_response` marks its requests with the first; the plain call does not send it. The second is
# MLFLOW_WORKSPACE, which names a part of some tracking server.
_DROPPED = frozenset({"x-stainless-raw-response", "x-mlflow-workspace"})
# Decompression is isochat's own, so that it stops at the cap: clients may not ask for more codings.
ACCEPT_ENCODING = "gzip, deflate"


def request_headers(
    client: Iterable[tuple[str, str]],
    credentials: Mapping[str, str],
    own: Mapping[str, str],
    product: str | None,
) -> dict[str, str]:
    """The headers of one request. Those that authenticate are :class:`~isochat.redaction.Secret`: blank when shown.

    Args:
        client: What the client wanted to send.
        credentials: What authenticates, from the owner of the credentials.
        own: The caller's ``headers=`` and ``extra_headers=``; they win over the client's.
        product: A partner's name and version, appended to the User-Agent.
    """
    theirs = {name.lower() for name in own}
    agent = ""
    headers: dict[str, str] = {}
    for name, value in client:
        lower = name.lower()
        if lower in theirs or lower in _DROPPED:
            continue
        if lower == "user-agent":
            agent = value
        elif lower in _PASSED or lower.startswith(_PASSED_PREFIXES):
            headers[name] = value
    headers.update(own)
    if "user-agent" not in theirs:
        headers["User-Agent"] = " ".join(filter(None, (agent, f"isochat/{__version__}", product)))
    headers.update(credentials)
    headers["Accept-Encoding"] = ACCEPT_ENCODING
    return headers
