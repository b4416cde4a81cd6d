"""Do agents of OpenAI's Agents SDK run against a workspace, through Databricks' OpenAI client?"""

from __future__ import annotations

from agents import (
    Agent,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from checks import CLAUDE, GPT, QUESTION, answered, check, run
from databricks_openai import AsyncDatabricksOpenAI

# It would send a trace of each run to OpenAI.
set_tracing_disabled(True)
CLIENT = AsyncDatabricksOpenAI()


@function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"Fog over {city}"


def chat(endpoint: str) -> Model:
    return OpenAIChatCompletionsModel(model=endpoint, openai_client=CLIENT)


def agent(model: Model, **settings: object) -> Agent:
    return Agent(name="agent", instructions="Be kind.", model=model, **settings)


async def streamed(one: Agent) -> str:
    running = Runner.run_streamed(one, QUESTION)
    async for _ in running.stream_events():
        pass
    return running.final_output


@check("plain")
async def plain() -> None:
    for endpoint in (GPT, CLAUDE):
        answered((await Runner.run(agent(chat(endpoint)), QUESTION)).final_output)


@check("stream")
@check("async")
async def stream() -> None:
    for endpoint in (GPT, CLAUDE):
        answered(await streamed(agent(chat(endpoint))))


@check("tools")
async def tools() -> None:
    required = ModelSettings(tool_choice="required")
    for model in (chat(GPT), OpenAIResponsesModel(model=GPT, openai_client=CLIENT)):
        one = agent(model, tools=[weather], model_settings=required)
        assert 'The last tool result is: "Fog over' in (await Runner.run(one, QUESTION)).final_output
        assert 'The last tool result is: "Fog over' in await streamed(one)


@check("Responses")
async def responses() -> None:
    model = OpenAIResponsesModel(model=GPT, openai_client=CLIENT)
    answered((await Runner.run(agent(model), QUESTION)).final_output)
    answered(await streamed(agent(model)))


if __name__ == "__main__":
    run("openai-agents", "databricks-openai")
