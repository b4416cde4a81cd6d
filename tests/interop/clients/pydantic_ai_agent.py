"""Do Pydantic AI's agents run against a workspace, through its OpenAI provider?"""

from __future__ import annotations

from checks import CLAUDE, GPT, HOST, LLAMA, QUESTION, TOKEN, answered, check, equal, run
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

PROVIDER = OpenAIProvider(base_url=f"{HOST}/serving-endpoints", api_key=TOKEN)


class Place(BaseModel):
    """A place."""

    city: str


def chat(endpoint: str) -> OpenAIChatModel:
    return OpenAIChatModel(endpoint, provider=PROVIDER)


@check("plain")
def plain() -> None:
    for endpoint in (GPT, CLAUDE, LLAMA):
        done = Agent(chat(endpoint)).run_sync(QUESTION)
        answered(done.output)
        equal(done.response.finish_reason, "stop")


@check("stream")
@check("async")
async def stream() -> None:
    for endpoint in (GPT, CLAUDE, LLAMA):
        async with Agent(chat(endpoint)).run_stream(QUESTION) as running:
            answered("".join([piece async for piece in running.stream_text(delta=True)]))
        assert running.usage.output_tokens > 2


@check("tools")
def tools() -> None:
    # The way it gets an output of a type: a tool that the model is made to call.
    done = Agent(chat(GPT), output_type=Place).run_sync(QUESTION)
    assert isinstance(done.output, Place)


@check("JSON schema")
def json_schema() -> None:
    done = Agent(chat(GPT), output_type=NativeOutput(Place)).run_sync(QUESTION)
    assert isinstance(done.output, Place)


@check("Responses")
async def responses() -> None:
    agent = Agent(OpenAIResponsesModel(GPT, provider=PROVIDER))
    answered((await agent.run(QUESTION)).output)
    async with agent.run_stream(QUESTION) as running:
        answered(await running.get_output())


@check("gateway")
def gateway() -> None:
    provider = OpenAIProvider(base_url=f"{HOST}/ai-gateway/mlflow/v1", api_key=TOKEN)
    answered(Agent(OpenAIChatModel("system.ai.gpt-5", provider=provider)).run_sync(QUESTION).output)


@check("errors")
def errors() -> None:
    try:
        Agent(chat("nope")).run_sync(QUESTION)
    except ModelHTTPError as error:
        equal(error.status_code, 404)
    else:
        raise AssertionError("no error for an endpoint that is not there")


if __name__ == "__main__":
    run("pydantic-ai-slim", "openai")
