"""Does LangChain's `ChatDatabricks` (`databricks-langchain`) run against a workspace?"""

from __future__ import annotations

from checks import ANSWER, CLAUDE, GPT, LLAMA, QUESTION, answered, check, equal, run
from databricks_langchain import ChatDatabricks
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

ENDPOINTS = (GPT, CLAUDE, LLAMA)


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"Fog over {city}"


class Place(BaseModel):
    """A place."""

    city: str


@check("plain")
def plain() -> None:
    for endpoint in ENDPOINTS:
        reply = ChatDatabricks(model=endpoint).invoke(QUESTION)
        answered(reply.content)
        equal(reply.response_metadata["finish_reason"], "stop")
        assert reply.usage_metadata["total_tokens"] > 2


@check("plain")
def as_documented() -> None:
    messages = [SystemMessage(content="You're a helpful assistant"), HumanMessage(content=QUESTION)]
    reply = ChatDatabricks(model=CLAUDE, temperature=0.1, max_tokens=256).invoke(messages)
    answered(reply.content)
    assert "You're a helpful assistant" in reply.content


@check("stream")
def stream() -> None:
    for endpoint in ENDPOINTS:
        chunks = list(ChatDatabricks(model=endpoint).stream(QUESTION))
        answered("".join(chunk.content for chunk in chunks))
        folded = chunks[0]
        for chunk in chunks[1:]:
            folded += chunk
        assert folded.usage_metadata["total_tokens"] > 2
        equal(
            [c.response_metadata["finish_reason"] for c in chunks if c.response_metadata.get("finish_reason")],
            ["stop"],
        )


@check("parameters")
def parameters() -> None:
    reply = ChatDatabricks(model=LLAMA, max_tokens=3, stop=["nothing"], temperature=0.2).invoke(QUESTION)
    equal(reply.content, " ".join(ANSWER.split()[:3]))
    equal(reply.response_metadata["finish_reason"], "length")


@check("tools")
def tool_call() -> None:
    for endpoint in ENDPOINTS:
        chat = ChatDatabricks(model=endpoint)
        first = chat.bind_tools([weather], tool_choice="required").invoke(QUESTION)
        [call] = first.tool_calls
        equal(call["name"], "weather")
        assert "city" in call["args"]
        result = ToolMessage(content="Fog", tool_call_id=call["id"])
        last = chat.bind_tools([weather]).invoke([HumanMessage(content=QUESTION), first, result])
        assert 'The last tool result is: "Fog"' in last.content


@check("tools")
def tool_call_streamed() -> None:
    chunks = list(ChatDatabricks(model=GPT).bind_tools([weather], tool_choice="required").stream(QUESTION))
    folded = chunks[0]
    for chunk in chunks[1:]:
        folded += chunk
    [call] = folded.tool_calls
    assert "city" in call["args"]


@check("JSON schema")
def structured() -> None:
    for method in ("function_calling", "json_schema"):
        place = ChatDatabricks(model=GPT).with_structured_output(Place, method=method).invoke(QUESTION)
        assert isinstance(place, Place), f"{method}: {place!r}"


@check("reasoning")
def reasoning() -> None:
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
    chat = ChatDatabricks(model=CLAUDE, max_tokens=2048, extra_params={"extra_body": thinking})
    assert "I repeat what was asked." in str(chat.invoke(QUESTION).content)
    assert "repeat" in "".join(str(chunk.content) for chunk in chat.stream(QUESTION))


@check("async")
async def asynchronous() -> None:
    chat = ChatDatabricks(model=GPT)
    answered((await chat.ainvoke(QUESTION)).content)
    answered("".join([chunk.content async for chunk in chat.astream(QUESTION)]))


@check("plain")
def batch() -> None:
    for reply in ChatDatabricks(model=LLAMA).batch([QUESTION] * 8):
        answered(reply.content)


@check("Responses")
def responses() -> None:
    chat = ChatDatabricks(model=GPT, use_responses_api=True)
    answered(_text(chat.invoke(QUESTION)))
    answered("".join(_text(chunk) for chunk in chat.stream(QUESTION)))


@check("gateway")
def gateway() -> None:
    answered(ChatDatabricks(model="system.ai.gpt-5", use_ai_gateway=True).invoke(QUESTION).content)


@check("errors")
def refusals() -> None:
    import openai

    try:
        ChatDatabricks(model="nope", max_retries=0).invoke(QUESTION)
    except openai.NotFoundError:
        return
    raise AssertionError("no error for an endpoint that is not there")


def _text(message: object) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content)


if __name__ == "__main__":
    run("databricks-langchain", "langchain-core", "databricks-sdk", "openai")
