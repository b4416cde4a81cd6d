"""What of a reply's body may be read, by isochat and by the client?

An answer is left as it is, whatever the model says. In an error reply, and in what is no answer under a success status,
the token is blanked before any client sees it, which may log it.
"""

from __future__ import annotations

from isochat.errors import ResponseTooLargeError
from isochat.redaction import Redactor
from isochat.transport.limits import Limits
from isochat.wire_format.json_text import no_answer
from isochat.wire_format.json_weight import ROOM, check_weight

# What is kept of an explanation that nobody could read.
_EXPLAINED = 64 * 1024
# Clients read it several times over.
_ROOM_FOR_EXPLANATION = ROOM // 4
# An answer has one of these at its top; see isochat.wire_format.replies.
_ANSWERS = (b'"choices"', b'"output"', b'"messages"')


def explanation(data: bytes, redactor: Redactor) -> bytes:
    """The body of an error reply; its beginning where the whole would take too much memory: the status has said what
    happened.
    """
    try:
        check_weight(data, _ROOM_FOR_EXPLANATION)
    except ResponseTooLargeError:
        data = data[:_EXPLAINED]
    return redactor.clean_bytes(data)


def success(data: bytes, content_type: str | None, limits: Limits, redactor: Redactor) -> bytes:
    """The body of a reply with a success status.

    Raises:
        ResponseTooLargeError: its values would take more memory than there is room for.
        BadResponseError: it is no answer, and longer than an explanation may be.
    """
    check_weight(data)
    if any(word in data for word in _ANSWERS):
        return data
    if len(data) > limits.error:
        raise no_answer(redactor.clean_bytes(data[:_EXPLAINED]), len(data), content_type)
    return redactor.clean_bytes(data)
