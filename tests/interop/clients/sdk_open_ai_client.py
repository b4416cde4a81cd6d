"""Does the OpenAI client that the Databricks SDK hands out, `get_open_ai_client()`, run against a workspace?"""

from __future__ import annotations

import json
import warnings

import openai
from checks import CLAUDE, GPT, MESSAGES, QUESTION, TOOL, answered, check, run
from databricks.sdk import WorkspaceClient


def client() -> openai.OpenAI:
    with warnings.catch_warnings():
        # The SDK asks its users to move to databricks-openai.
        warnings.simplefilter("ignore", DeprecationWarning)
        return WorkspaceClient().serving_endpoints.get_open_ai_client()


@check("plain")
def plain() -> None:
    reply = client().chat.completions.create(model=CLAUDE, messages=MESSAGES, max_tokens=256)
    answered(reply.choices[0].message.content)


@check("stream")
def stream() -> None:
    chunks = client().chat.completions.create(model=CLAUDE, messages=MESSAGES, stream=True)
    answered("".join(c.choices[0].delta.content or "" for c in chunks if c.choices))


@check("tools")
def tools() -> None:
    reply = client().chat.completions.create(model=GPT, messages=MESSAGES, tools=[TOOL], tool_choice="required")
    [call] = reply.choices[0].message.tool_calls
    assert "city" in json.loads(call.function.arguments)


@check("Responses")
def responses() -> None:
    answered(client().responses.create(model=GPT, input=QUESTION).output_text)


@check("errors")
def errors() -> None:
    try:
        client().chat.completions.create(model="nope", messages=MESSAGES)
    except openai.NotFoundError:
        return
    raise AssertionError("no error for an endpoint that is not there")


if __name__ == "__main__":
    run("databricks-sdk", "openai")
