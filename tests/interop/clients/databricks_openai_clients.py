"""Do the OpenAI clients of Databricks (`databricks-openai`) run against a workspace?"""

from __future__ import annotations

import json

import openai
from checks import ANSWER, CLAUDE, GPT, LLAMA, MESSAGES, PARAMETERS, QUESTION, TOOL, answered, check, equal, run
from databricks.sdk import WorkspaceClient
from databricks_openai import AsyncDatabricksOpenAI, DatabricksOpenAI

ENDPOINTS = (GPT, CLAUDE, LLAMA)
FUNCTION = {"type": "function", "name": "weather", "parameters": PARAMETERS}


@check("plain")
def plain() -> None:
    client = DatabricksOpenAI()
    for endpoint in ENDPOINTS:
        reply = client.chat.completions.create(model=endpoint, messages=MESSAGES)
        answered(reply.choices[0].message.content)
        equal(reply.choices[0].finish_reason, "stop")
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 2


@check("stream")
def stream() -> None:
    client = DatabricksOpenAI()
    for endpoint in ENDPOINTS:
        chunks = list(
            client.chat.completions.create(
                model=endpoint, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
        )
        answered("".join(c.choices[0].delta.content or "" for c in chunks if c.choices))
        equal([c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason], ["stop"])
        assert chunks[-1].usage.total_tokens > 2


@check("tools")
def tool_call() -> None:
    client = DatabricksOpenAI()
    strict = {"type": "function", "function": {**TOOL["function"], "strict": True}}
    for endpoint in ENDPOINTS:
        reply = client.chat.completions.create(
            model=endpoint, messages=MESSAGES, tools=[strict], tool_choice="required"
        )
        [call] = reply.choices[0].message.tool_calls
        assert "city" in json.loads(call.function.arguments)
        history = [*MESSAGES, reply.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "Fog"}]
        last = client.chat.completions.create(model=endpoint, messages=history, tools=[TOOL])
        assert 'The last tool result is: "Fog"' in last.choices[0].message.content


@check("JSON schema")
def json_schema() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "place", "schema": PARAMETERS}}
    for endpoint in ENDPOINTS:
        reply = DatabricksOpenAI().chat.completions.create(model=endpoint, messages=MESSAGES, response_format=schema)
        assert "city" in json.loads(reply.choices[0].message.content)


@check("reasoning")
def reasoning() -> None:
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    reply = DatabricksOpenAI().chat.completions.create(
        model=CLAUDE, messages=MESSAGES, max_tokens=2048, extra_body=thinking
    )
    thought, said = reply.choices[0].message.content
    equal((thought["type"], said["type"]), ("reasoning", "text"))
    answered(said["text"])


@check("async")
async def asynchronous() -> None:
    async with AsyncDatabricksOpenAI() as client:
        reply = await client.chat.completions.create(model=GPT, messages=MESSAGES)
        answered(reply.choices[0].message.content)
        chunks = [c async for c in await client.chat.completions.create(model=GPT, messages=MESSAGES, stream=True)]
        answered("".join(c.choices[0].delta.content or "" for c in chunks if c.choices))
        response = await client.responses.create(model=GPT, input=QUESTION)
        answered(response.output_text)


@check("Responses")
def responses() -> None:
    client = DatabricksOpenAI()
    response = client.responses.create(model=GPT, input=QUESTION)
    answered(response.output_text)
    equal(response.status, "completed")
    assert response.usage.total_tokens > 2
    cut = client.responses.create(model=GPT, input=QUESTION, max_output_tokens=3)
    equal(cut.output_text, " ".join(ANSWER.split()[:3]))
    equal(cut.incomplete_details.reason, "max_output_tokens")


@check("Responses")
def responses_streamed() -> None:
    events = list(DatabricksOpenAI().responses.create(model=GPT, input=QUESTION, stream=True))
    answered("".join(event.delta for event in events if event.type == "response.output_text.delta"))
    equal(events[-1].type, "response.completed")
    with DatabricksOpenAI().responses.stream(model=GPT, input=QUESTION) as running:
        answered(running.get_final_response().output_text)


@check("Responses")
def responses_tool_call() -> None:
    client = DatabricksOpenAI()
    first = client.responses.create(model=GPT, input=QUESTION, tools=[FUNCTION], tool_choice="required")
    [call] = [item for item in first.output if item.type == "function_call"]
    assert "city" in json.loads(call.arguments)
    history = [
        {"role": "user", "content": QUESTION},
        *[item.model_dump(exclude_none=True) for item in first.output],
        {"type": "function_call_output", "call_id": call.call_id, "output": "Fog"},
    ]
    last = client.responses.create(model=GPT, input=history, tools=[FUNCTION])
    assert 'The last tool result is: "Fog"' in last.output_text


@check("gateway")
def gateway() -> None:
    client = DatabricksOpenAI(use_ai_gateway=True)
    for name in ("system.ai.gpt-5", "databricks-gpt-5"):
        reply = client.chat.completions.create(model=name, messages=MESSAGES)
        answered(reply.choices[0].message.content)
        answered(client.responses.create(model=name, input=QUESTION).output_text)


@check("errors")
def refusals() -> None:
    client = DatabricksOpenAI(max_retries=0)
    for call, error in (
        (lambda: client.chat.completions.create(model="nope", messages=MESSAGES), openai.NotFoundError),
        (lambda: client.responses.create(model=CLAUDE, input=QUESTION), openai.BadRequestError),
        (
            lambda: DatabricksOpenAI(
                workspace_client=WorkspaceClient(token="wrong"), max_retries=0
            ).chat.completions.create(model=GPT, messages=MESSAGES),
            openai.PermissionDeniedError,
        ),
    ):
        try:
            call()
        except error:
            continue
        raise AssertionError(f"no {error.__name__}")


if __name__ == "__main__":
    run("databricks-openai", "openai", "databricks-sdk")
