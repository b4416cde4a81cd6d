"""Does any-llm's provider `databricks` run against a workspace?"""

from __future__ import annotations

import json
from typing import Any

import any_llm
from checks import CLAUDE, GPT, HOST, LLAMA, MESSAGES, PARAMETERS, TOKEN, TOOL, answered, check, equal, run

# Its own reading of DATABRICKS_HOST lacks the path.
WORKSPACE: dict[str, Any] = {"provider": "databricks", "api_base": f"{HOST}/serving-endpoints", "api_key": TOKEN}


@check("plain")
def plain() -> None:
    for endpoint in (GPT, CLAUDE, LLAMA):
        reply = any_llm.completion(model=endpoint, messages=MESSAGES, **WORKSPACE)
        answered(reply.choices[0].message.content)
        equal(reply.choices[0].finish_reason, "stop")
        assert reply.usage.total_tokens > 2


@check("stream")
def stream() -> None:
    for endpoint in (GPT, CLAUDE, LLAMA):
        chunks = list(any_llm.completion(model=endpoint, messages=MESSAGES, stream=True, **WORKSPACE))
        answered("".join(c.choices[0].delta.content or "" for c in chunks if c.choices))


@check("tools")
def tools() -> None:
    reply = any_llm.completion(model=GPT, messages=MESSAGES, tools=[TOOL], tool_choice="required", **WORKSPACE)
    [call] = reply.choices[0].message.tool_calls
    assert "city" in json.loads(call.function.arguments)


@check("JSON schema")
def json_schema() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "place", "schema": PARAMETERS}}
    reply = any_llm.completion(model=GPT, messages=MESSAGES, response_format=schema, **WORKSPACE)
    assert "city" in json.loads(reply.choices[0].message.content)


@check("async")
async def asynchronous() -> None:
    reply = await any_llm.acompletion(model=GPT, messages=MESSAGES, **WORKSPACE)
    answered(reply.choices[0].message.content)
    running = await any_llm.acompletion(model=GPT, messages=MESSAGES, stream=True, **WORKSPACE)
    answered("".join([c.choices[0].delta.content or "" async for c in running if c.choices]))


@check("errors")
def errors() -> None:
    try:
        any_llm.completion(model="nope", messages=MESSAGES, **WORKSPACE)
    except Exception as error:
        assert "does not exist" in str(error), repr(error)
    else:
        raise AssertionError("no error for an endpoint that is not there")


if __name__ == "__main__":
    run("any-llm-sdk", "openai")
