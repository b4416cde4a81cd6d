"""How did a call go? Which client carried it, what the service said beside its answer, what was changed on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from isochat.once import NOTHING, Later, Once
from isochat.output_types import Parsing
from isochat.records import Record

_READ_FIELDS = frozenset(
    {"id", "object", "created", "created_at", "model", "choices", "output", "messages", "usage", "finish_reason"}
)


class Meta(Record, frozen=True, eq=False):
    """How the call went.

    Attributes:
        backend, endpoint, route: Which client asked, whom, over which of the workspace's routes.
        client_call: The client's own call that carried it, e.g. ``chat.completions.create``.
        request_id: ``x-request-id`` of the reply.
        served_model: The ``served-model-name`` header of the reply.
        status_code, headers: The reply's status and headers (names in lower case).
        elapsed: Seconds for the whole call, retries and waiting included.
        attempts: Attempts made, by all who carried the call; 1 when the first one succeeded.
        warnings: Whatever was dropped, added or rewritten on the way: each begins with ``dropped``, ``left out``,
            ``rewrote`` or, where nothing is lost by it, ``added``; before them stands, as ``fell back``, who of a
            ``fallback`` carried the call on and why. Of a stream also ``completion_unproven`` (an
            agent's, whose end only the connection's clean end proves), ``usage_missing`` (token counts were asked for
            and did not come) and ``not_streamed`` (the endpoint answered with a whole reply).
    """

    backend: str = ""
    endpoint: str = ""
    route: str = ""
    client_call: str = ""
    request_id: str | None = None
    served_model: str | None = None
    status_code: int | None = None
    headers: Mapping[str, str] = {}
    elapsed: float = 0.0
    attempts: int = 0
    warnings: tuple[str, ...] = ()
    _raw: Any = None
    _native: Once = NOTHING
    _parsing: Parsing | None = None
    _extra: Mapping[str, Any] | None = None
    _not_compared: ClassVar[frozenset[str]] = frozenset({"_native", "_parsing"})

    @property
    def extra(self) -> Mapping[str, Any]:
        """Fields at the top of the reply that a result has no place for, e.g. ``custom_outputs`` of agents; of a
        stream, those of its events.
        """
        if self._extra is not None:
            return self._extra
        raw = self.raw if isinstance(self.raw, Mapping) else {}
        return {name: value for name, value in raw.items() if name not in _READ_FIELDS and value is not None}

    @property
    def raw(self) -> Any:
        """The reply as it came, decoded from JSON; ``None`` for a folded stream."""
        return self._raw.get() if isinstance(self._raw, Later) else self._raw

    @property
    def native(self) -> Any:
        """What the client itself returned, parsed by the client from the same bytes; not pickled."""
        return self._native.get()
