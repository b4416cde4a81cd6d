"""How does an agent answer? A ResponsesAgent's `output` or a ChatAgent's `messages`, whole and in a stream.

Shapes: replies of MLflow's own servers (`mlflow models serve`, `AgentServer`), a pasted reply of a served agent
(`databricks_output`), and fixtures of databricks-ai-bridge (the ChatAgent's stream). Which of the two an agent is, its
task says: `agent/v1/responses`, or `agent/v1/chat` and `agent/v2/chat`.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from isochat_workspace.dialects.response_object import new_id, reasoning_item
from isochat_workspace.http.event_stream import DONE, error_within, write_event
from isochat_workspace.models.answers import Answer, AnswerChoice, Reasoning, TokenUsage, ToolCall
from isochat_workspace.models.model import Prompt
from isochat_workspace.models.pieces import FinishPiece, Piece, ReasoningPiece, TextPiece, ToolCallPiece

Shown = dict[str, Any]


def write_agent(prompt: Prompt, answer: Answer, request_id: str) -> Shown:
    """The agent's whole answer: its first choice, as agents have no `n`. `custom_inputs` come back as outputs."""
    choice = answer.choices[0]
    if prompt.dialect == "chat":
        return {"messages": [_message(choice, str(uuid.uuid4()))], **_custom_outputs(prompt)}
    return {
        "object": "response",
        "id": request_id,
        "output": _items(choice),
        **_custom_outputs(prompt),
        "databricks_output": {"databricks_request_id": request_id},
    }


async def agent_events(prompt: Prompt, pieces: AsyncIterator[Piece]) -> AsyncGenerator[bytes, None]:
    """The events of one answer, each as soon as its piece is there; then `[DONE]`.

    An error in between ends them with an event in the flat shape of the service, and no `[DONE]`.
    """
    stream = _ChatAgentStream() if prompt.dialect == "chat" else _ResponsesAgentStream()
    source: Any = pieces
    async with aclosing(source):
        try:
            async for piece in pieces:
                if not isinstance(piece, TokenUsage) and piece.choice == 0:
                    for event in stream.of_piece(piece):
                        yield write_event(event)
        except Exception as error:  # noqa: BLE001 - the status is sent: an event is the only place left for it
            told = error_within(error)
            yield write_event({"error_code": told.error_code, "message": told.message})
            return
    yield DONE


class _Gathered:
    """What was said so far."""

    def __init__(self) -> None:
        self._text: str | None = None
        self._thought = ""
        self._calls: dict[int, ToolCall] = {}

    def _gather(self, piece: Piece) -> None:
        match piece:
            case TextPiece():
                self._text = (self._text or "") + piece.text
            case ReasoningPiece():
                self._thought += piece.text
            case ToolCallPiece():
                before = self._calls.get(piece.call) or ToolCall(piece.id or "", piece.name or "", "")
                self._calls[piece.call] = ToolCall(before.id, before.name, before.arguments + piece.arguments)

    def _choice(self) -> AnswerChoice:
        thought = Reasoning(self._thought) if self._thought else None
        return AnswerChoice(self._text, "stop", tuple(self._calls.values()), thought)


class _ResponsesAgentStream(_Gathered):
    """Deltas of text, then the items, without `response.created`, numbers and places (AgentServer)."""

    def __init__(self) -> None:
        super().__init__()
        self._id = new_id("msg")

    def of_piece(self, piece: Piece) -> list[Shown]:
        self._gather(piece)
        if isinstance(piece, TextPiece) and piece.text:
            return [{"type": "response.output_text.delta", "item_id": self._id, "delta": piece.text}]
        if isinstance(piece, FinishPiece):
            return [{"type": "response.output_item.done", "item": item} for item in _items(self._choice(), self._id)]
        return []


class _ChatAgentStream(_Gathered):
    """Deltas at the top level, each with the id of its message; a call comes whole."""

    def __init__(self) -> None:
        super().__init__()
        self._id, self._message_id = str(uuid.uuid4()), str(uuid.uuid4())

    def of_piece(self, piece: Piece) -> list[Shown]:
        self._gather(piece)
        if isinstance(piece, TextPiece) and piece.text:
            return [self._delta({"role": "assistant", "content": piece.text, "id": self._message_id})]
        if isinstance(piece, FinishPiece) and self._calls:
            return [self._delta(_message(AnswerChoice(None, "stop", tuple(self._calls.values())), self._message_id))]
        return []

    def _delta(self, delta: Shown) -> Shown:
        return {"id": self._id, "delta": delta}


def _message(choice: AnswerChoice, message_id: str) -> Shown:
    """A ChatAgent's message: text beside calls is "" and no null; reasoning has no place in it."""
    message: Shown = {"role": "assistant", "content": choice.text or "", "id": message_id}
    if choice.tool_calls:
        message["tool_calls"] = [
            {"type": "function", "id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
            for call in choice.tool_calls
        ]
    return message


def _items(choice: AnswerChoice, message_id: str | None = None) -> list[Shown]:
    items: list[Shown] = []
    if choice.reasoning is not None:
        items.append(reasoning_item(new_id("rs"), [choice.reasoning.text]))
    for call in choice.tool_calls:
        function = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        items.append({"type": "function_call", "id": new_id("fc"), **function})
    if choice.text is not None:
        part = {"type": "output_text", "text": choice.text, "annotations": []}
        message = {"type": "message", "id": message_id or new_id("msg"), "role": "assistant", "status": "completed"}
        items.append({**message, "content": [part]})
    return items


def _custom_outputs(prompt: Prompt) -> Shown:
    given = prompt.body.get("custom_inputs")
    return {} if given is None else {"custom_outputs": given}
