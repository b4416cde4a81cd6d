"""How does a backend prove that it gives the same answers as every other one? The conformance suite.

A third party's whole test file::

    from isochat_conformance import BackendConformance

    class TestMine(BackendConformance):
        backend = "mine"

or, without pytest, ``isochat conformance mine``. The cases are data: ``cases/*.json``, read by
:mod:`isochat_conformance.case`. ``FaultConformance`` does the same with the fault table, what a network and a server
can do wrong: ``faults/*.json``, read by :mod:`isochat_conformance.fault_table`, ``isochat conformance --faults mine``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isochat_conformance.backend_conformance import BackendConformance
    from isochat_conformance.fault_conformance import FaultConformance

__all__ = ["BackendConformance", "FaultConformance"]


def __getattr__(name: str) -> Any:
    # Only whoever asks for a test class needs pytest; the command line does not.
    if name == "BackendConformance":
        from isochat_conformance.backend_conformance import BackendConformance

        return BackendConformance
    if name == "FaultConformance":
        from isochat_conformance.fault_conformance import FaultConformance

        return FaultConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
