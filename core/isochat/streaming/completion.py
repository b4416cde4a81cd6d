"""Is the answer that a stream has told complete?

It is when it says so in its dialect: on chat completions by a finish reason for every choice that appeared, on
Responses by the response's last event. Agents say neither: for them it is ``[DONE]``, or else an end that HTTP's
framing proves. Nothing else is success.
"""

from __future__ import annotations

from isochat.results import Usage
from isochat.streaming.agent_fold import AgentFold
from isochat.streaming.chat_fold import ChatFold
from isochat.streaming.responses_fold import ResponsesFold
from isochat.wire_format.usage import read_usage

Fold = ChatFold | ResponsesFold | AgentFold


class Completion:
    """The verdicts on one stream.

    Args:
        choices: How many choices the request asked for.
        usage_asked: Whether it asked for token counts.
        on_responses: Whether the service's Responses path is asked, where a response tells its end by itself.
    """

    __slots__ = ("_choices", "_on_responses", "_usage_asked")

    def __init__(self, *, choices: int, usage_asked: bool, on_responses: bool) -> None:
        self._choices = choices
        self._usage_asked = usage_asked
        self._on_responses = on_responses

    def proven(self, fold: Fold, *, done: bool, over: bool) -> bool:
        """Whether the answer says by itself that it is complete.

        Args:
            done: Whether ``[DONE]`` has come.
            over: Whether nothing more can have been meant to come, e.g. another of the choices that were asked for.
        """
        if fold.agentic and done:
            return True
        if not fold.complete:
            return False
        return over or not isinstance(fold, ChatFold) or fold.appeared >= self._choices

    def likely(self, fold: Fold) -> bool:
        """Whether an end that nothing in the stream tells may be its end: an agent's, who is in no event any more."""
        if not fold.agentic:
            return False
        # On the Responses path an agent ends its items at least, as that API demands: deltas alone have been cut.
        return not (self._on_responses and isinstance(fold, ResponsesFold) and fold.unended)

    def told_its_last(self, fold: Fold) -> bool:
        """Whether nothing more is expected before ``[DONE]``: the last event of a response has come.

        An agent may go on after that, with what its tools answer; so a response that has called tools is not over, nor
        one from a path where agents answer.
        """
        return (
            self._on_responses
            and isinstance(fold, ResponsesFold)
            and fold.complete
            and not (fold.agentic or fold.calls_tools)
        )

    def lacks_usage(self, fold: Fold) -> bool:
        """Whether token counts were asked for and did not come."""
        return self._usage_asked and not fold.agentic and read_usage(fold.usage) in (None, Usage())
