"""Does the Responses API get back of an answer what it takes, and is the rest told? And is all reasoning read?"""

import pytest
from conversations import Told, chat_answer, responses_answer, said, there_and_back, written

import isochat
from isochat.request import build
from isochat.wire_format.input_items import for_responses
from isochat.wire_format.replies import read_reply

ITEM = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e1"}
ASKED = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
TEXT = {"type": "text", "text": "So."}
QUESTION = {"role": "user", "content": "And now?"}


def test_reasoning_that_nothing_follows_does_not_go_back():
    cut_off = responses_answer(said("One."), ITEM, {**ITEM, "id": "rs_2"}).to_message()
    left_out = []

    items = for_responses([cut_off, QUESTION], Told(left_out=left_out))

    assert items == [written("One."), QUESTION]
    assert left_out == ["messages[0].content (reasoning that nothing follows)"] * 2


def test_reasoning_before_a_call_goes_back():
    message = responses_answer(ITEM, ASKED).to_message()

    assert [item["type"] for item in for_responses([message], Told())] == ["reasoning", "function_call"]


def test_an_item_goes_back_as_the_service_takes_it():
    search = {"type": "web_search_call", "id": "ws_" + "1" * 61, "action": None}
    answer = responses_answer({**ITEM, "id": "rs_" + "2" * 62, "status": None, "content": None}, search, said("One."))
    rewritten = []

    items = for_responses([answer.to_message()], Told(rewritten=rewritten))

    assert items == [{**ITEM, "id": "rs_" + "2" * 61}, search, written("One.")]
    assert rewritten == ["messages[0].content[0].id: cut to the 64 characters that the service takes back"]


@pytest.mark.parametrize("api", ["chat-completions", "responses"])
def test_a_signature_inside_a_calls_function_is_kept_or_told(api):
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}", "thought_signature": "t1"}}
    message = chat_answer(content=None, tool_calls=[call]).to_message()

    request = build("e", api, [message, {"role": "tool", "tool_call_id": "c1", "content": "1"}], {}, {})

    if api == "responses":
        assert "messages[0].tool_calls[0].function.thought_signature" in request.warnings[0]
    else:
        assert request.body["messages"][0]["tool_calls"] == [call]


@pytest.mark.parametrize("api", ["chat-completions", "responses"])
def test_a_signature_of_a_text_goes_back_or_is_told(api):
    signed = {**TEXT, "thoughtSignature": "t1"}

    request = build("e", api, [chat_answer(content=[signed]).to_message(), QUESTION], {}, {})

    if api == "responses":
        assert request.body["input"][0] == written("So.")
        assert "messages[0].content[0].thoughtSignature" in request.warnings[0]
    else:
        assert request.body["messages"][0]["content"] == [signed]


def test_what_chat_has_no_place_for_in_a_text_is_told():
    item = {**said("So."), "content": [{"type": "output_text", "text": "So.", "annotations": [], "x_new": 1}]}

    request = build("e", "chat-completions", [responses_answer(item).to_message(), QUESTION], {}, {})

    assert request.body["messages"][0] == {"role": "assistant", "content": "So."}
    assert "messages[0].content[0].x_new" in request.warnings[0]


def test_a_block_of_another_type_is_no_text_though_it_has_one():
    thought = {"type": "thinking", "text": "Hm."}
    message = chat_answer(content=[thought, TEXT]).to_message()

    assert message["content"] == [thought, TEXT]
    assert build("e", "chat-completions", [message, QUESTION], {}, {}).body["messages"][0] == message
    assert build("e", "responses", [message, QUESTION], {}, {}).body["input"][0] == written("So.")


def test_a_tools_message_stays_one_whatever_type_its_author_gives_it():
    tool = {"role": "tool", "type": "tool", "content": "12 C", "tool_call_id": "c1"}
    message = read_reply({"messages": [tool, {"role": "assistant", "content": "Cold."}]}, "chat-completions")

    request = build("e", "chat-completions", [message.to_message(), QUESTION], {}, {})

    assert request.body["messages"][0] == {"role": "assistant", "content": "Cold."}


def test_an_odd_id_of_a_call_answers_none():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": ["c1"], "content": "1"}]

    assert [call.id for call in read_reply({"messages": messages}, "chat-completions").tool_calls] == ["c1"]


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "reasoning", "text": "Hm.", "signature": "s1"}, isochat.ReasoningPart("Hm.", "s1")),
        ({"type": "reasoning", "summary": "Hm."}, isochat.ReasoningPart("Hm.")),
        ({"type": "reasoning", "summary": ["Hm."]}, isochat.ReasoningPart("Hm.")),
        ({"type": "reasoning", "summary": [], "content": "Hm."}, isochat.ReasoningPart("Hm.")),
    ],
    ids=["text", "a summary of text", "a list of texts", "content of text"],
)
def test_reasoning_in_the_words_of_an_agents_author_is_read(block, part):
    on_chat, on_responses = chat_answer(content=[block, TEXT]), responses_answer(block, said("So."))

    assert on_chat.message.parts == (part, isochat.TextPart("So."))
    assert isochat.diff(on_chat, on_responses) == []
    assert there_and_back(on_chat) == on_chat
