"""Are the pieces of an answer, put together, that answer?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isochat_workspace import Answer, AnswerChoice, Reasoning, TokenUsage, ToolCall
from isochat_workspace.models.pieces import cut_into_pieces, put_together

texts = st.text(max_size=20)
calls = st.builds(ToolCall, st.text("id", min_size=1, max_size=3), st.text("fg", min_size=1, max_size=3), texts)
thoughts = st.builds(Reasoning, st.text("a ", min_size=1), st.none() | st.text("s", min_size=1))
choices = st.builds(
    AnswerChoice,
    st.none() | texts,
    st.sampled_from(["stop", "length", "tool_calls"]),
    st.lists(calls, max_size=3).map(tuple),
    st.none() | thoughts,
)
answers = st.builds(
    Answer, st.lists(choices, min_size=1, max_size=3).map(tuple), st.builds(TokenUsage, st.just(3), st.integers(1, 9))
)


@given(answers)
def test_they_are(answer: Answer) -> None:
    assert put_together(cut_into_pieces(answer)) == answer
    assert put_together(cut_into_pieces(answer, len)) == answer
