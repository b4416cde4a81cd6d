"""Does LiteLLM's `databricks/` provider run against a workspace?"""

from __future__ import annotations

import json
import os

from checks import ANSWER, CLAUDE, GPT, HOST, LLAMA, MESSAGES, TOKEN, TOOL, answered, check, equal, run

os.environ["DATABRICKS_API_BASE"] = f"{HOST}/serving-endpoints"
os.environ["DATABRICKS_API_KEY"] = TOKEN
# Its table of prices would be fetched from the network at import.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

ENDPOINTS = (GPT, CLAUDE, LLAMA)


@check("plain")
def plain() -> None:
    for endpoint in ENDPOINTS:
        reply = litellm.completion(f"databricks/{endpoint}", messages=MESSAGES, num_retries=0)
        answered(reply.choices[0].message.content)
        equal(reply.choices[0].finish_reason, "stop")
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 2


@check("stream")
def stream() -> None:
    for endpoint in ENDPOINTS:
        chunks = list(
            litellm.completion(
                f"databricks/{endpoint}", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
        )
        answered("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
        equal([c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason], ["stop"])
        folded = litellm.stream_chunk_builder(chunks, messages=MESSAGES)
        answered(folded.choices[0].message.content)
        assert folded.usage.total_tokens > 2


@check("parameters")
def parameters() -> None:
    reply = litellm.completion(f"databricks/{GPT}", messages=MESSAGES, max_tokens=3, stop=["nothing"])
    equal(reply.choices[0].finish_reason, "length")
    equal(reply.choices[0].message.content, " ".join(ANSWER.split()[:3]))


@check("tools")
def tool_call() -> None:
    for endpoint in ENDPOINTS:
        reply = litellm.completion(f"databricks/{endpoint}", messages=MESSAGES, tools=[TOOL], tool_choice="required")
        [call] = reply.choices[0].message.tool_calls
        equal(call.function.name, "weather")
        assert "city" in json.loads(call.function.arguments)
        equal(reply.choices[0].finish_reason, "tool_calls")
        # And the result of the tool goes back.
        history = [
            *MESSAGES,
            reply.choices[0].message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "Fog"},
        ]
        last = litellm.completion(f"databricks/{endpoint}", messages=history, tools=[TOOL])
        assert 'The last tool result is: "Fog"' in last.choices[0].message.content


@check("tools")
def tool_call_streamed() -> None:
    chunks = list(
        litellm.completion(f"databricks/{GPT}", messages=MESSAGES, tools=[TOOL], tool_choice="required", stream=True)
    )
    [call] = litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls
    equal(call.function.name, "weather")
    assert "city" in json.loads(call.function.arguments)


@check("JSON schema")
def json_schema() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "place", "schema": TOOL["function"]["parameters"]}}
    for endpoint in ENDPOINTS:
        reply = litellm.completion(f"databricks/{endpoint}", messages=MESSAGES, response_format=schema)
        assert "city" in json.loads(reply.choices[0].message.content), reply.choices[0].message.content


@check("reasoning")
def reasoning() -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    reply = litellm.completion(f"databricks/{CLAUDE}", messages=MESSAGES, thinking=thinking, max_tokens=2048)
    answered(reply.choices[0].message.content)
    assert "I repeat what was asked." in reply.choices[0].message.reasoning_content
    running = litellm.completion(
        f"databricks/{CLAUDE}", messages=MESSAGES, thinking=thinking, max_tokens=2048, stream=True
    )
    thought = "".join(getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in running)
    assert "I repeat what was asked." in thought


@check("async")
async def plain_async() -> None:
    reply = await litellm.acompletion(f"databricks/{GPT}", messages=MESSAGES)
    answered(reply.choices[0].message.content)


@check("async")
async def stream_async() -> None:
    chunks = [c async for c in await litellm.acompletion(f"databricks/{GPT}", messages=MESSAGES, stream=True)]
    answered("".join(chunk.choices[0].delta.content or "" for chunk in chunks))


@check("errors")
def refusals() -> None:
    try:
        litellm.completion("databricks/nope", messages=MESSAGES)
    except litellm.NotFoundError as error:
        assert "does not exist" in str(error)
    else:
        raise AssertionError("no error for an endpoint that is not there")
    try:
        litellm.completion(f"databricks/{GPT}", messages=MESSAGES, api_key="wrong")
    except (litellm.PermissionDeniedError, litellm.AuthenticationError, litellm.APIError) as error:
        assert "Invalid access token" in str(error)
    else:
        raise AssertionError("no error for a wrong token")


if __name__ == "__main__":
    run("litellm", "openai")
