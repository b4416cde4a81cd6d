"""How does each client reach this workspace? Lines to copy, as the Databricks documentation writes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isochat_workspace.endpoints import Endpoint
    from isochat_workspace.workspace import Workspace


@dataclasses.dataclass(frozen=True, slots=True)
class WayIn:
    """A client, and what to paste into a shell or into Python. Whole lines, none longer than 80 characters."""

    client: str
    lines: tuple[str, ...]


def ways_in(workspace: Workspace) -> list[WayIn]:
    """What to paste for each of the five clients; those that no endpoint here can serve are left out.

    Only the first block is for the shell alone: what follows runs where its variables are set.
    """
    url, token = workspace.url, workspace.token
    ways = [
        WayIn("In the shell of your program", (f"export DATABRICKS_HOST={url}", f"export DATABRICKS_TOKEN={token}"))
    ]
    if chat := _named(workspace, lambda one: "chat" in one.speaks and one.invocations_dialect == "chat"):
        ways += [
            WayIn("isochat", (f'isochat chat --endpoint {chat} "Hello"',)),
            WayIn(
                "REST API",
                (
                    f"curl -u token:{token} \\",
                    '-H "Content-Type: application/json" \\',
                    '-d \'{"messages": [{"role": "user", "content": "Hello"}]}\' \\',
                    f"{url}/serving-endpoints/{chat}/invocations",
                ),
            ),
        ]
    openai = (
        "from openai import OpenAI",
        f'client = OpenAI(api_key="{token}",',
        f'    base_url="{url}/serving-endpoints")',
    )
    if named := _named(workspace, lambda one: "chat" in one.speaks):
        ways.append(
            WayIn(
                "OpenAI Chat Completions",
                (
                    *openai,
                    f'response = client.chat.completions.create(model="{named}",',
                    '    messages=[{"role": "user", "content": "Hello"}])',
                    "print(response.choices[0].message.content)",
                ),
            )
        )
    if named := _named(workspace, lambda one: "responses" in one.speaks):
        ways.append(
            WayIn(
                "OpenAI Responses",
                (
                    *openai,
                    f'response = client.responses.create(model="{named}",',
                    '    input=[{"role": "user", "content": "Hello"}])',
                    "print(response.output_text)",
                ),
            )
        )
    if chat:
        ways += [
            WayIn(
                "MLflow Deployments SDK",
                (
                    "import mlflow.deployments",
                    'client = mlflow.deployments.get_deploy_client("databricks")',
                    f'response = client.predict(endpoint="{chat}",',
                    '    inputs={"messages": [{"role": "user", "content": "Hello"}]})',
                    'print(response["choices"][0]["message"]["content"])',
                ),
            ),
            WayIn(
                "Databricks Python SDK",
                (
                    "from databricks.sdk import WorkspaceClient",
                    "from databricks.sdk.service.serving import ChatMessage, ChatMessageRole",
                    "w = WorkspaceClient()",
                    f'response = w.serving_endpoints.query(name="{chat}",',
                    '    messages=[ChatMessage(role=ChatMessageRole.USER, content="Hello")])',
                    "print(response.choices[0].message.content)",
                ),
            ),
        ]
    return ways


def _named(workspace: Workspace, fits: Callable[[Endpoint], bool]) -> str | None:
    """The endpoint to show: the default one if it fits, else the first that does.

    A recorder and a cassette do not know which endpoints there are: `ENDPOINT` stands for what their user puts there.
    """
    if not workspace.endpoints:
        return "ENDPOINT"
    fitting = [endpoint.name for endpoint in workspace.endpoints if fits(endpoint)]
    if not fitting or workspace.default_endpoint in fitting:
        return workspace.default_endpoint if fitting else None
    return fitting[0]
