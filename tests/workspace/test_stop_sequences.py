"""Does a text end before the first stop sequence, however it is cut into tokens?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isochat_workspace.models.answers import TokenLogprob
from isochat_workspace.smollm2.stop_sequences import Said, StopSequences

few_letters = st.text("ab\N{SNOWMAN}", min_size=1, max_size=4)


@given(st.lists(few_letters, max_size=12), st.lists(few_letters, max_size=4))
def test_what_gets_through_is_the_text_before_the_first_sequence(tokens: list[str], sequences: list[str]) -> None:
    filtered, said = StopSequences(sequences), []
    for token in tokens:
        said += filtered.add(Said(token, TokenLogprob(token, -1.0)))
        # Nothing that has been said may have to be taken back.
        assert expected(tokens, sequences).startswith("".join(one.text for one in said))
        if filtered.stopped:
            break
    said += filtered.end()
    text = "".join(one.text for one in said)
    assert text == expected(tokens, sequences)
    assert filtered.stopped == any(sequence in "".join(tokens) for sequence in sequences)
    assert "".join(one.logprob.token for one in said if one.logprob).startswith(text)


def expected(tokens: list[str], sequences: list[str]) -> str:
    """The text that a reader of all tokens would cut where the first sequence is whole."""
    text = "".join(tokens)
    for end in range(len(text) + 1):
        starts = [end - len(one) for one in sequences if text[:end].endswith(one)]
        if starts:
            # A token is added whole: sequences that begin earlier may be whole by its end.
            last = next(len("".join(tokens[:n])) for n in range(len(tokens) + 1) if len("".join(tokens[:n])) >= end)
            return text[: min(at for one in sequences if (at := text[:last].find(one)) >= 0)]
    return text


def test_only_the_beginning_of_a_sequence_waits() -> None:
    filtered = StopSequences(["STOP"])
    assert [one.text for one in filtered.add(Said("go "))] == ["go "]
    assert [one.text for one in filtered.add(Said("on ST"))] == []
    assert [one.text for one in filtered.add(Said("AR"))] == ["on ST", "AR"]
    assert [one.text for one in filtered.add(Said("now STOP and"))] == ["now "]
    assert filtered.stopped
