"""Does an answer go back into a conversation whole, whichever API carries the next turn?"""

import json
import warnings

import pytest
from conversations import Told, chat_answer, responses_answer, said, there_and_back, written

import isochat
from isochat.messages import read_messages
from isochat.request import build
from isochat.wire_format.chat_completions import read_completion
from isochat.wire_format.chat_history import for_chat_completions
from isochat.wire_format.input_items import for_responses
from isochat.wire_format.replies import read_reply

SIGNED = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm.", "signature": "s1"}]}
REDACTED = {"type": "reasoning", "summary": [{"type": "summary_encrypted_text", "data": "x1"}]}
ITEM = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e1"}
TEXT = {"type": "text", "text": "So."}
VIDEO = {"type": "video_url", "video_url": {"url": "https://x"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "thoughtSignature": "t1"}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (chat_answer(content="So."), {"role": "assistant", "content": "So."}),
        (chat_answer(content=[TEXT]), {"role": "assistant", "content": "So."}),
        (chat_answer(content=[SIGNED, TEXT]), {"role": "assistant", "content": [SIGNED, TEXT]}),
        (chat_answer(content=[REDACTED, TEXT]), {"role": "assistant", "content": [REDACTED, TEXT]}),
        (
            chat_answer(content=[{**TEXT, "citations": [{"type": "char_location"}]}]),
            {"role": "assistant", "content": [{**TEXT, "citations": [{"type": "char_location"}]}]},
        ),
        (chat_answer(content="", tool_calls=[CALL]), {"role": "assistant", "content": None, "tool_calls": [CALL]}),
        (chat_answer(content="So.", reasoning_content="Hm."), {"role": "assistant", "content": "So."}),
        (chat_answer(content=None, refusal="No."), {"role": "assistant", "content": None, "refusal": "No."}),
    ],
    ids=["text", "a block of text", "signed", "redacted", "cited", "a call", "reasoning_content", "a refusal"],
)  # fmt: skip
def test_to_message_is_what_the_endpoint_said(answer, message):
    assert answer.to_message() == message


@pytest.mark.parametrize("block", [SIGNED, REDACTED])
def test_reasoning_outlives_to_dict(block):
    answer = chat_answer(content=[block, TEXT])

    again = isochat.ChatResult.from_dict(json.loads(json.dumps(answer.to_dict())))

    assert again == answer
    assert again.to_message() == answer.to_message()


def test_reasoning_of_the_responses_api_goes_back_to_it_and_not_to_chat():
    message = responses_answer(ITEM, said("So.")).to_message()
    left_out = []

    items = for_responses([message], Told())
    chat = for_chat_completions([message], Told(left_out=left_out))

    assert items == [ITEM, {"role": "assistant", "content": [{"type": "output_text", "text": "So."}]}]
    assert chat == [{"role": "assistant", "content": "So."}]
    assert left_out == ["messages[0].content[0] (reasoning of the Responses API)"]


def test_reasoning_of_a_chat_endpoint_goes_back_to_it_and_not_to_responses():
    message = chat_answer(content=[SIGNED, TEXT]).to_message()
    left_out = []

    chat = for_chat_completions([message], Told())
    items = for_responses([message], Told(left_out=left_out))

    assert chat == [message]
    assert items == [{"role": "assistant", "content": [{"type": "output_text", "text": "So."}]}]
    assert left_out == ["messages[0].content[0] (reasoning of a chat-completions endpoint)"]


def test_tool_calls_and_their_results_become_items():
    history = [
        {"role": "user", "content": "Weather?"},
        chat_answer(content=None, tool_calls=[CALL]).to_message(),
        {"role": "tool", "tool_call_id": "c1", "content": "12 C"},
    ]

    left_out = []

    assert for_responses(history, Told(left_out=left_out)) == [
        {"role": "user", "content": "Weather?"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "12 C"},
    ]
    assert left_out == ["messages[1].tool_calls[0].thoughtSignature"]


def test_what_has_no_item_is_told():
    told = []
    history = [
        {"role": "user", "name": "Ann", "content": [VIDEO, TEXT]},
        {"role": "user", "content": [{**TEXT, "cache_control": {"type": "ephemeral"}}]},
    ]

    for_responses(history, Told(unsupported=told))

    assert told == [
        "messages[0].name",
        "messages[0].content[0] (type 'video_url')",
        "messages[1].content[0].cache_control",
    ]


def test_what_an_answer_had_beside_its_fields_may_not_stop_a_conversation():
    left_out, told = [], []
    history = [
        {"role": "assistant", "content": "A", "reasoning_details": [{"type": "reasoning.text"}], "thinking_blocks": []},
        {"role": "tool", "tool_call_id": "c1", "name": "f", "content": "12 C"},
        {"role": "assistant", "content": "B", "name": "Ann", "function_call": {"name": "f", "arguments": "{}"}},
    ]

    items = for_responses(history, Told(unsupported=told, left_out=left_out))

    assert items == [
        {"role": "assistant", "content": "A"},
        {"type": "function_call_output", "call_id": "c1", "output": "12 C"},
        {"role": "assistant", "content": "B"},
    ]
    assert left_out == ["messages[0].reasoning_details", "messages[1].name"]
    assert told == ["messages[2].function_call", "messages[2].name"]


def test_an_empty_text_beside_a_call_is_no_text():
    answer = chat_answer(content=[SIGNED, {"type": "text", "text": ""}], tool_calls=[CALL])

    assert answer.message.content is None
    assert answer.to_message()["content"] == [SIGNED]


@pytest.mark.parametrize(
    "content",
    [
        [TEXT, {"type": "text", "text": None, "citations": [{"type": "char_location"}]}],
        [{"type": "text", "citations": []}, TEXT],
        [{"foo": 1}, TEXT],
    ],
    ids=["a citation alone", "no text", "no type"],
)
def test_whatever_an_endpoint_said_may_go_back(content):
    message = chat_answer(content=content).to_message()

    assert read_messages([message])[0]["role"] == "assistant"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "a", "tool_calls": ["x"]},
        {"role": "assistant", "content": "a", "tool_calls": {"id": "1"}},
        {"role": "assistant", "content": "a", "tool_calls": [{"id": "1", "function": "f"}]},
        {"role": "user", "content": [{"type": "file", "file": "x"}]},
        {"role": "user", "content": [{"type": "text", "text": 3}]},
    ],
)
def test_a_malformed_history_is_refused_with_its_path(message):
    with pytest.raises(isochat.InvalidInputError, match=r"messages\[0\]"):
        read_messages([message])


def test_extra_body_adds_to_what_parameters_say_in_a_responses_body():
    extra = {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"], "text": {"verbosity": "low"}}
    params = {
        "reasoning_effort": "low",
        "logprobs": True,
        "response_format": {"type": "json_object"},
        "extra_body": extra,
    }

    body = build("e", "responses", "q", params, {}).body

    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert body["include"] == ["message.output_text.logprobs", "reasoning.encrypted_content"]
    assert body["text"] == {"format": {"type": "json_object"}, "verbosity": "low"}


def test_null_in_logprobs_is_no_difference():
    def answer(logprobs):
        choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "logprobs": logprobs}
        return read_completion({"choices": [choice]})

    assert isochat.diff(answer({"content": [1], "refusal": None}), answer({"content": [1]})) == []


def test_unknown_fields_inside_a_calls_function_are_kept():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}", "thought_signature": "t"}}

    assert chat_answer(content=None, tool_calls=[call]).to_message()["tool_calls"] == [call]


def test_the_call_of_the_older_form_is_a_call():
    answer = chat_answer(content=None, function_call={"name": "f", "arguments": "{}"})

    assert [(call.id, call.function.name) for call in answer.tool_calls] == [(None, "f")]


def test_a_call_of_a_custom_tool_is_a_call_and_goes_back_as_it_came():
    custom = {"id": "c", "type": "custom", "custom": {"name": "g", "input": "x"}}
    answer = chat_answer(content="a", tool_calls=[custom])

    (call,) = answer.tool_calls
    assert (call.type, call.function.name, call.function.arguments) == ("custom", "g", "x")
    assert answer.to_message()["tool_calls"] == [custom]
    assert isochat.ChatResult.from_dict(answer.to_dict()) == answer


def test_citations_that_the_next_api_cannot_take_back_are_told():
    cited = chat_answer(content=[{**TEXT, "citations": [{"type": "char_location"}]}]).to_message()
    left_out = []

    for_responses([cited], Told(left_out=left_out))

    assert left_out == ["messages[0].content[0].citations"]


# ------------------------------------------------------------------------------------ the order of an agent's turn

ASKED = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
TOLD = {"type": "function_call_output", "call_id": "c1", "output": "12 C"}
NEXT = {**ITEM, "id": "rs_2", "encrypted_content": "e2"}


def test_an_agents_turn_goes_back_in_its_order():
    answer = responses_answer(ITEM, said("Let me look."), ASKED, TOLD, NEXT, said("12 C."), said("Cold."))

    items = for_responses([answer.to_message()], Told())

    assert items == [ITEM, written("Let me look."), ASKED, TOLD, NEXT, written("12 C.", "Cold.")]


def test_a_refusal_beside_items_comes_last():
    message = {"role": "assistant", "content": [TEXT, ITEM], "refusal": "No."}

    items = for_responses([message], Told())

    assert items == [written("So."), ITEM, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}]


def test_the_texts_of_an_agents_turn_stay_apart_on_chat():
    message = responses_answer(said("Let me look."), ASKED, TOLD, said("12 C.")).to_message()

    request = build("e", "chat-completions", [message], {}, {})

    assert request.body["messages"] == [{"role": "assistant", "content": "Let me look.\n\n12 C."}]
    assert [text.partition(":")[0] for text in request.warnings] == [
        "left out messages[0].content[1] ('function_call' of an agent)",
        "left out messages[0].content[2] ('function_call_output' of an agent)",
        "rewrote messages[0].content",
    ]


def test_no_text_of_a_chat_agents_turn_is_lost():
    turn = {"messages": [{"role": "assistant", "content": text} for text in ("One.", "Two.")]}

    answer = read_reply(turn, "chat-completions")

    assert answer.text == "Two."
    assert answer.to_message() == {"role": "assistant", "content": "One.\n\nTwo."}


# ------------------------------------------------------------------------------------ messages left with nothing

AGENTS = {"type": "mcp_call", "id": "m1"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x"}}
QUESTION = {"role": "user", "content": "And now?"}


@pytest.mark.parametrize("on_unsupported", ["drop", "warn", "raise"])
@pytest.mark.parametrize("role", ["user", "system", "tool"])
def test_a_question_of_which_nothing_is_left_is_refused(on_unsupported, role):
    messages = [{"role": role, "content": [VIDEO], **({"tool_call_id": "c1"} if role == "tool" else {})}, QUESTION]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", isochat.UnsupportedParameterWarning)
        with pytest.raises(isochat.UnsupportedParameterError, match=r"messages\[0\]"):
            build("e", "responses", messages, {}, {}, on_unsupported)


def test_a_question_of_agents_items_alone_is_refused_on_chat():
    with pytest.raises(isochat.UnsupportedParameterError, match=r"messages\[0\]: the user message would be empty"):
        build("e", "chat-completions", [{"role": "user", "content": [AGENTS]}], {}, {})


def test_what_is_left_of_a_question_is_asked():
    request = build("e", "responses", [{"role": "user", "content": [VIDEO, TEXT]}], {}, {}, "drop")

    assert request.body["input"] == [{"role": "user", "content": [{"type": "input_text", "text": "So."}]}]


@pytest.mark.parametrize(
    ("api", "message", "beside"),
    [
        ("chat-completions", {"role": "assistant", "content": [ITEM]}, 1),
        ("chat-completions", {"role": "assistant", "content": [AGENTS]}, 1),
        ("responses", {"role": "assistant", "content": [SIGNED]}, 1),
        ("responses", {"role": "assistant", "content": [IMAGE]}, 1),
        ("responses", {"role": "assistant", "content": None}, 0),
        ("chat-completions", {"role": "assistant", "content": None, "tool_calls": []}, 0),
        ("chat-completions", {"role": "assistant", "content": []}, 0),
        ("responses", {"role": "assistant", "content": [ITEM]}, 1),
    ],
    ids=[
        "a reasoning item",
        "an item of an agent",
        "signed reasoning",
        "an image",
        "nothing",
        "nothing on chat",
        "no blocks on chat",
        "reasoning cut off",
    ],
)
def test_an_answer_of_which_nothing_is_left_is_left_out_and_told(api, message, beside):
    request = build("e", api, [message, QUESTION], {}, {})

    assert request.body["messages" if api == "chat-completions" else "input"] == [QUESTION]
    assert len(request.warnings) == beside + 1
    assert "messages[0] (nothing else is in it)" in request.warnings[-1]


@pytest.mark.parametrize("text", [{"content": ""}, {"content": None, "refusal": "No."}, {"content": None, "x": 1}])
def test_an_answer_that_says_anything_stays(text):
    message = {"role": "assistant", **text}

    assert build("e", "chat-completions", [message, QUESTION], {}, {}).body["messages"] == [message, QUESTION]


def test_a_call_stays_when_all_of_the_content_goes():
    message = {"role": "assistant", "content": [ITEM], "tool_calls": [CALL]}

    assert build("e", "chat-completions", [message, QUESTION], {}, {}).body["messages"][0] == {
        **message,
        "content": None,
    }


@pytest.mark.parametrize(("api", "block"), [("chat-completions", ITEM), ("responses", SIGNED)])
def test_a_conversation_of_which_nothing_is_left_is_refused(api, block):
    with pytest.raises(isochat.UnsupportedParameterError, match="the conversation would be empty"):
        build("e", api, [{"role": "assistant", "content": [block]}], {}, {}, "drop")


def test_what_the_caller_left_empty_goes_out_empty():
    assert build("e", "responses", [{"role": "user", "content": []}], {}, {}).body["input"] == [
        {"role": "user", "content": []}
    ]


# ------------------------------------------------------------------------------------ beside the content

CITED = {"start_index": 0, "end_index": 3, "title": "T", "url": "https://x"}
NESTED = {"type": "url_citation", "url_citation": CITED}
SPOKEN = {"id": "audio_1", "data": "UklGRg==", "expires_at": 1767229200, "transcript": "So."}


def test_annotations_are_the_citations_of_the_text_on_either_api():
    chat = chat_answer(content="So.", annotations=[NESTED])
    text = {"type": "output_text", "text": "So.", "annotations": [{"type": "url_citation", **CITED}]}
    responses = responses_answer({"type": "message", "role": "assistant", "content": [text]})

    assert chat.message.parts == (isochat.TextPart("So.", ({"type": "url_citation", **CITED},)),)
    assert isochat.diff(chat, responses) == []
    assert chat.to_dict()["choices"][0]["message"]["annotations"] == [NESTED]
    assert (there_and_back(chat), there_and_back(responses)) == (chat, responses)


def test_annotations_do_not_go_back():
    answer = chat_answer(content="So.", annotations=[NESTED])

    assert answer.to_message() == {"role": "assistant", "content": "So."}
    assert there_and_back(answer).to_message() == answer.to_message()


@pytest.mark.parametrize(
    "message",
    [
        {"content": "So.", "annotations": [NESTED, {"type": "file_citation", "file_id": "f"}]},
        {"content": "So.", "annotations": ["odd"]},
        {"content": "So.", "annotations": []},
        {"content": "", "annotations": [NESTED]},
        {"content": [TEXT], "annotations": [NESTED]},
        {"content": "So.", "annotations": [NESTED], "reasoning_content": "Hm.", "audio": SPOKEN, "refusal": "No."},
        {"content": [SIGNED, TEXT, {"type": "audio", "data": "x"}], "audio": SPOKEN},
    ],
)
def test_whatever_stands_beside_the_content_outlives_to_dict(message):
    answer = chat_answer(**message)

    assert there_and_back(answer) == answer
    assert read_messages([answer.to_message()])


def test_spoken_words_are_a_part_and_go_back_by_their_id():
    answer = chat_answer(content=None, audio=SPOKEN)

    assert answer.message.parts == (isochat.OtherPart("audio", SPOKEN),)
    assert answer.to_message() == {"role": "assistant", "content": None, "audio": {"id": "audio_1"}}
    assert there_and_back(answer).to_message() == answer.to_message()
    assert build("e", "chat-completions", [answer.to_message()], {}, {}).body["messages"] == [answer.to_message()]


def test_spoken_words_without_an_id_do_not_go_back():
    answer = chat_answer(content="So.", audio={"transcript": "So."})

    assert answer.to_message() == {"role": "assistant", "content": "So."}


def test_a_block_of_audio_is_a_block():
    answer = chat_answer(content=[{"type": "audio", "data": "x"}])

    assert answer.to_message() == {"role": "assistant", "content": [{"type": "audio", "data": "x"}]}


def test_the_responses_api_is_told_of_what_a_models_message_has_beside_its_content():
    message = {"role": "assistant", "content": "So.", "annotations": [NESTED], "audio": {"id": "a"}}
    left_out = []

    items = for_responses([message, {**message, "annotations": [], "audio": None}], Told(left_out=left_out))

    assert items == [{"role": "assistant", "content": "So."}] * 2
    assert left_out == ["messages[0].annotations", "messages[0].audio"]


# ------------------------------------------------------------------------------------ custom tools

CUSTOM = {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x = 1"}}
CUSTOM_ITEM = {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x = 1"}


def test_a_custom_tools_call_and_what_it_gave_become_items_of_its_own():
    history = [
        {"role": "assistant", "content": None, "tool_calls": [CALL, CUSTOM]},
        {"role": "tool", "tool_call_id": "c1", "content": "12 C"},
        {"role": "tool", "tool_call_id": "c2", "content": "1"},
    ]
    left_out = []

    assert for_responses(history, Told(left_out=left_out))[1:] == [
        CUSTOM_ITEM,
        {"type": "function_call_output", "call_id": "c1", "output": "12 C"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "1"},
    ]
    assert left_out == ["messages[0].tool_calls[0].thoughtSignature"]


def test_a_pending_call_of_a_custom_tool_is_the_same_on_either_api():
    responses = responses_answer({**CUSTOM_ITEM, "id": "ctc_1", "status": "completed"})
    chat = chat_answer(content=None, tool_calls=[CUSTOM])

    assert responses.tool_calls == chat.tool_calls
    assert responses.to_message() == chat.to_message()
    assert responses.finish_reason == "tool_calls"
    assert there_and_back(responses) == responses


def test_an_answered_call_of_a_custom_tool_stays_in_its_place():
    told = {"type": "custom_tool_call_output", "call_id": "c2", "output": "1"}
    answer = responses_answer(CUSTOM_ITEM, told, said("One."))

    assert (answer.tool_calls, answer.finish_reason) == ((), "stop")
    assert for_responses([answer.to_message()], Told()) == [CUSTOM_ITEM, told, written("One.")]


def test_an_item_without_a_type_may_go_back():
    message = responses_answer({"foo": 1}, said("One.")).to_message()

    assert read_messages([message])


def test_calls_that_reasoning_follows_keep_their_place():
    other = {**CUSTOM_ITEM, "id": "ctc_1"}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    last = {"type": "function_call", "call_id": "c3", "name": "f", "arguments": "{}"}
    answer = responses_answer(ITEM, ASKED, NEXT, other, search, last)
    message = answer.to_message()

    assert [call.id for call in answer.tool_calls] == ["c1", "c2", "c3"]
    assert for_responses([message], Told()) == [ITEM, ASKED, NEXT, other, search, last]
    assert there_and_back(answer) == answer


def test_a_call_that_keeps_its_place_is_one_call_on_chat():
    message = responses_answer(ITEM, ASKED, NEXT, {**ASKED, "call_id": "c9"}).to_message()
    left_out = []

    (chat,) = for_chat_completions([message], Told(left_out=left_out))

    assert chat == {"role": "assistant", "content": None, "tool_calls": message["tool_calls"]}
    assert [call["id"] for call in chat["tool_calls"]] == ["c1", "c9"]
    assert left_out == [f"messages[0].content[{i}] (reasoning of the Responses API)" for i in (0, 2)]


def test_a_call_that_keeps_its_place_makes_no_difference():
    reasoning = {**SIGNED, "id": "rs_1"}

    assert isochat.diff(responses_answer(ASKED, reasoning), responses_answer(reasoning, ASKED)) == []


# ------------------------------------------------------------------------------------ messages written by hand

PICTURE = isochat.ImagePart("https://x/y.png")


def test_a_text_beside_parts_without_one_is_said_too():
    question = isochat.Message("user", "What?", parts=(PICTURE,))
    answer = isochat.Message(content="So.", parts=(isochat.ReasoningPart("Hm.", signature="s1"),))

    assert read_messages([question, answer]) == (
        {"role": "user", "content": [{"type": "text", "text": "What?"}, IMAGE_OF_A_PART]},
        {"role": "assistant", "content": [SIGNED, TEXT]},
    )


IMAGE_OF_A_PART = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}


def test_a_text_that_stands_in_the_parts_is_said_once():
    question = isochat.Message("user", "What?", parts=(isochat.TextPart("What?"), PICTURE))

    assert read_messages([question])[0]["content"] == [{"type": "text", "text": "What?"}, IMAGE_OF_A_PART]


def test_arguments_that_are_an_object_become_text_for_the_responses_api():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    rewritten = []

    (item,) = for_responses([{"role": "assistant", "tool_calls": [call]}], Told(rewritten=rewritten))

    assert item["arguments"] == '{"a": 1}'
    assert rewritten == ["messages[0].tool_calls[0].function.arguments: the API takes JSON text alone"]


def test_a_callers_mark_on_a_call_is_the_callers():
    told = []

    for_responses(
        [
            {
                "role": "assistant",
                "tool_calls": [{**CALL, "thoughtSignature": None, "cache_control": {"type": "ephemeral"}}],
            }
        ],
        Told(unsupported=told),
    )

    assert told == ["messages[0].tool_calls[0].cache_control"]


# ------------------------------------------------------------------------------------ phases of GPT-5's messages


def test_the_phase_of_a_message_goes_back_with_it():
    answer = responses_answer(
        {**said("Let me look."), "phase": "commentary"}, ASKED, TOLD, {**said("12 C."), "phase": "final_answer"}
    )

    items = for_responses([answer.to_message()], Told())

    assert answer.text == "12 C."
    assert items == [
        {**written("Let me look."), "phase": "commentary"},
        ASKED,
        TOLD,
        {**written("12 C."), "phase": "final_answer"},
    ]


def test_messages_of_two_phases_stay_two():
    answer = responses_answer(
        {**said("One."), "phase": "commentary"}, {**said("Two."), "phase": "final_answer"}, said("Three.")
    )

    assert for_responses([answer.to_message()], Told()) == [
        {**written("One."), "phase": "commentary"},
        {**written("Two."), "phase": "final_answer"},
        written("Three."),
    ]


def test_a_phase_is_nothing_to_chat_and_makes_no_difference():
    answer = responses_answer({**said("So."), "phase": "final_answer"})
    left_out = []

    assert for_chat_completions([answer.to_message()], Told(left_out=left_out)) == [
        {"role": "assistant", "content": "So."}
    ]
    assert left_out == ["messages[0].content[0].phase"]
    assert answer == responses_answer(said("So."))
