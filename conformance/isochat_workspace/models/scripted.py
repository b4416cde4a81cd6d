"""What does a model say that needs no weights? Answers that follow from the request alone."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from isochat_workspace.models.answers import Answer, AnswerChoice, FinishReason, Reasoning, TokenUsage, ToolCall
from isochat_workspace.models.model import Model, Prompt, text_of
from isochat_workspace.models.pieces import FinishPiece, Piece, TextPiece, cut_into_pieces
from isochat_workspace.models.rules import Rule, Said
from isochat_workspace.models.schema_instance import instance_of

_WORD = re.compile(r"\S+")


class Scripted(Model):
    """Says in whole sentences what reached it: the question, the system prompt, the roles of the conversation.

    The same Prompt gets the same answer, over chat and over Responses, today and tomorrow: no chance and no
    clock. A token is a word (a run of non-blanks). `max_tokens` cuts after so many words ("length"), a stop
    sequence cuts before itself ("stop"). A forced tool is called with arguments made from its schema; with
    a schema for the text, the text is an instance of it. A tool it may call freely is not called. Where
    reasoning is asked for, it thinks before it speaks; those words count towards `max_tokens` like any others.
    It streams word by word, without a pause. `rules` come first: where one holds, its answer is the answer.
    """

    def __init__(self, served_name: str = "scripted", rules: Sequence[Rule] = ()) -> None:
        self.served_name = served_name
        self._rules = tuple(rules)

    @property
    def endpoint_name(self) -> str:
        return "scripted"

    async def answer(self, prompt: Prompt) -> Answer:
        """Answer from the prompt alone. Raises the ServiceError of a rule that says so."""
        said = self._said(prompt)
        if said is not None and said.error is not None:
            raise said.error.error()
        return self._answer(prompt, said)

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece]:
        """The same answer word by word, with the words counted so far. Raises as `answer` does."""
        said = self._said(prompt)
        error = None if said is None else said.error
        if said is None or error is None or not error.after_chunks:
            answer = await self.answer(prompt)
        else:
            answer = self._answer(prompt, said)
        texts = 0
        for piece in cut_into_pieces(answer, _words, None if said is None else said.chunks):
            if error is not None and (texts == error.after_chunks or isinstance(piece, FinishPiece)):
                raise error.error()
            yield piece
            texts += isinstance(piece, TextPiece)

    def _said(self, prompt: Prompt) -> Said | None:
        return next((rule.answer for rule in self._rules if rule.when.holds(prompt)), None)

    def _answer(self, prompt: Prompt, said: Said | None) -> Answer:
        choices = tuple(self._choice(prompt, at) if said is None else said.choice() for at in range(prompt.n))
        completion = sum(_words_of_choice(choice) for choice in choices)
        thought = sum(_words(choice.reasoning.text) for choice in choices if choice.reasoning)
        answer = Answer(choices, TokenUsage(_words_of_messages(prompt.messages), completion, thought))
        return answer if said is None else said.with_usage(answer)

    def _choice(self, prompt: Prompt, index: int) -> AnswerChoice:
        reasoning = _thoughts(prompt) if prompt.reasoning else None
        tool = prompt.forced_tool
        if tool is not None:
            arguments = instance_of(tool.parameters)
            call = ToolCall(
                id=f"call_{tool.name}_{index + 1}",
                name=tool.name,
                arguments=json.dumps(arguments if isinstance(arguments, dict) else {}),
            )
            return AnswerChoice(None, "tool_calls", (call,), reasoning)
        if prompt.json_schema is not None:
            # {} asks for any object: one that still says what was asked.
            value = instance_of(prompt.json_schema) if prompt.json_schema else {"answer": _report(prompt)}
            text = json.dumps(value, ensure_ascii=False)
        else:
            text = _report(prompt)
            if prompt.n > 1:
                text += f" This is choice {index + 1} of {prompt.n}."
        text, finish_reason = _bounded(text, prompt, _words(reasoning.text) if reasoning else 0)
        return AnswerChoice(text, finish_reason, (), reasoning)


def _thoughts(prompt: Prompt) -> Reasoning:
    """What it thinks: short, and signed as Claude signs."""
    text = f"The conversation has {_words_of_messages(prompt.messages)} words. I repeat what was asked."
    return Reasoning(text, base64.b64encode(text.encode()).decode())


def _report(prompt: Prompt) -> str:
    """The sentences: what was asked, under which instructions, after which conversation."""
    users = [text_of(m.get("content")) for m in prompt.messages if m.get("role") == "user"]
    systems = [text_of(m.get("content")) for m in prompt.messages if m.get("role") in ("system", "developer")]
    results = [text_of(m.get("content")) for m in prompt.messages if m.get("role") == "tool"]
    sentences = [f'You asked: "{users[-1]}".' if users else "You asked nothing."]
    sentences.append(f'The system prompt is: "{" ".join(systems)}".' if systems else "There is no system prompt.")
    if results:
        sentences.append(f'The last tool result is: "{results[-1]}".')
    roles = ", ".join(_role(message) for message in prompt.messages)
    plural = "message" if len(prompt.messages) == 1 else "messages"
    sentences.append(f"The conversation has {len(prompt.messages)} {plural}: {roles}.")
    if len(users) > 1:
        sentences.append(f'It began with: "{users[0]}".')
    return " ".join(sentences)


def _role(message: Mapping[str, Any]) -> str:
    # OpenAI's two words for one thing: backends may translate one into the other.
    role = message.get("role")
    return "system" if role == "developer" else str(role)


def _bounded(text: str, prompt: Prompt, spent: int) -> tuple[str, FinishReason]:
    """The text up to the first stop sequence or the last word allowed, whichever comes first."""
    cuts = [at for stop in prompt.stop if (at := text.find(stop)) >= 0]
    if cuts:
        text = text[: min(cuts)]
    words = list(_WORD.finditer(text))
    if prompt.max_tokens is not None and len(words) > (left := max(0, prompt.max_tokens - spent)):
        return text[: words[left - 1].end()] if left else "", "length"
    return text, "stop"


def _words(text: str) -> int:
    return len(_WORD.findall(text))


def _words_of_choice(choice: AnswerChoice) -> int:
    thought = choice.reasoning.text if choice.reasoning else ""
    return (
        _words(thought)
        + _words(choice.text or "")
        + sum(_words(f"{call.name} {call.arguments}") for call in choice.tool_calls)
    )


def _words_of_messages(messages: tuple[Mapping[str, Any], ...]) -> int:
    total = 0
    for message in messages:
        total += _words(text_of(message.get("content")))
        for call in message.get("tool_calls") or ():
            function = call.get("function", {}) if isinstance(call, dict) else {}
            total += _words(f"{function.get('name')} {function.get('arguments')}")
    return total
