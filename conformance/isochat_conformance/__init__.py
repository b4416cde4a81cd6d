"""How does a backend prove that it gives the same answers as every other one? The conformance suite.

A third party's whole test file::

    from isochat_conformance import BackendConformance

    class TestMine(BackendConformance):
        backend = "mine"

or, without pytest, ``isochat conformance mine``. The cases are data: ``cases/*.json``, read by
:mod:`isochat_conformance.case`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isochat_conformance.backend_conformance import BackendConformance

__all__ = ["BackendConformance"]


def __getattr__(name: str) -> Any:
    # Only whoever asks for the test class needs pytest; the command line does not.
    if name == "BackendConformance":
        from isochat_conformance.backend_conformance import BackendConformance

        return BackendConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
