"""Which endpoints does a workspace have? One endpoint, the default set, and how the service describes them."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal

from isochat_workspace.dialects.dressings import DRESSINGS, Dressing, DressName, StreamUsage
from isochat_workspace.models.model import Dialect, Model
from isochat_workspace.models.reply_source import ReplySource
from isochat_workspace.serving.dials import Failures, Latency, RateLimit
from isochat_workspace.serving.refusals import NAMES

API_TYPES: Mapping[Dialect, str] = {
    "chat": "mlflow/v1/chat/completions",
    "responses": "mlflow/v1/responses",
}
"""What the gateway calls an API, as `serving-endpoints:foundation-models` advertises it."""

_NATIVE_API_TYPES: Mapping[str, Mapping[Dialect, str]] = {
    "gpt": {"chat": "openai/v1/chat/completions", "responses": "openai/v1/responses"},
}
"""By family, the APIs of its provider that the gateway passes through (Codex probe 2026-07-28)."""

_TASK = re.compile(r"(llm|agent)/v\d+/\w+")
_HEADER_TEXT = re.compile(r"[!-~]+")

Permission = Literal["CAN_MANAGE", "CAN_QUERY", "CAN_VIEW", "NONE"]


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """A serving endpoint and what answers behind it.

    `dress` is how its answers look, see `dressings.py`. `family` chooses the rows of `refusals.py` that hold for it
    ("claude", "gpt", "llama"; a word that no row names has the rows for all); None is that of the dress. `speaks`
    lists the APIs it has. `served_model` is the name of the served entity (the `served-model-name` header and the
    `/served-models/{name}/` path); None takes the model's own. `reported_model` is the `model` of its answers; None
    is the model that did answer, so that nobody takes one for another.

    `stream_usage` (None: that of the dress) tells where a chat stream carries its usage: "every" chunk (cumulative,
    asked for or not; so do pay-per-token endpoints), a "last" chunk without choices unless
    `stream_options.include_usage` is false (as GPT does here), the same only where it is "asked" for (as OpenAI
    documents it), "never".

    `unknown_fields` are body fields that the server behind the endpoint does not know and refuses with
    `json: unknown field "..."`. Endpoints for custom and external models have been seen to refuse
    `stream_options` so (continuedev/continue#12936, anomalyco/opencode#4698).

    `accept` and `refuse` are names of rows of `refusals.py` that shall not hold here, or hold here too.
    `max_output_tokens` is the largest `max_tokens` that is not refused. `permission` is what the caller may do;
    "NONE": not even see it.

    `rate_limit`, `latency` and `failures` are the dials of `dials.py`, for tests of what a client does then.
    """

    name: str
    model: Model | ReplySource
    dress: DressName = "plain"
    family: str | None = None
    served_model: str | None = None
    reported_model: str | None = None
    speaks: tuple[Dialect, ...] = ("chat", "responses")
    task: str = "llm/v1/chat"
    stream_usage: StreamUsage | None = None
    unknown_fields: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()
    max_output_tokens: int | None = None
    permission: Permission = "CAN_QUERY"
    rate_limit: RateLimit | None = None
    latency: Latency = dataclasses.field(default_factory=Latency)
    failures: Failures | None = None

    def __post_init__(self) -> None:
        if not self.speaks and isinstance(self.model, Model):
            raise ValueError("speaks names no API: write chat, responses or both")
        if not _TASK.fullmatch(self.task):
            raise ValueError(f"a task is written like llm/v1/chat or agent/v1/responses, not {self.task!r}")
        if self.served_model is not None and not _HEADER_TEXT.fullmatch(self.served_model):
            raise ValueError(f"served_model stands in a header and in a path: {self.served_model!r} cannot")
        if self.max_output_tokens is not None and self.max_output_tokens < 1:
            raise ValueError("max_output_tokens has to be 1 or more")
        self._check_task()
        if self.dress == "agent-like" and not self.task.startswith("agent/"):
            raise ValueError(f"an agent-like endpoint has a task like agent/v1/responses, not {self.task!r}")
        for name in (*self.accept, *self.refuse):
            if name not in NAMES:
                nearest = ", ".join(difflib.get_close_matches(name, NAMES, n=1)) or ", ".join(NAMES)
                raise ValueError(f"no refusal is called {name!r}; there is {nearest}")

    def _check_task(self) -> None:
        """Raise ValueError for a task that nothing here can answer, or that `speaks` contradicts.

        A chat task without the chat API is none of these: hosted models exist that speak Responses alone.
        """
        if not isinstance(self.model, Model):
            return  # whatever was recorded, or is asked elsewhere
        if not self.task.endswith(("/chat", "/responses")):
            raise ValueError(
                f"no model here answers the task {self.task}: write one that ends in /chat or /responses,"
                " or have a recording (replay:FILE) or a real workspace (proxy:HOST) answer"
            )
        taken = self.invocations_dialect
        if taken not in self.speaks and (taken == "responses" or self.task.startswith("agent/")):
            raise ValueError(f"the task {self.task} takes {taken}, which speaks does not name: add {taken!r} to speaks")

    @property
    def dressing(self) -> Dressing:
        """How its answers look."""
        return DRESSINGS[self.dress]

    @property
    def refused_as(self) -> str:
        """The family whose refusals hold."""
        return self.dressing.family if self.family is None else self.family

    @property
    def usage_in_streams(self) -> StreamUsage:
        """Where a chat stream carries its usage."""
        return self.dressing.stream_usage if self.stream_usage is None else self.stream_usage

    @property
    def served_name(self) -> str:
        """The name of the served entity."""
        return self.served_model or self.model.served_name

    @property
    def answers_as(self) -> str:
        """The `model` of its answers."""
        return self.reported_model or self.model.served_name

    @property
    def invocations_dialect(self) -> Dialect:
        """What the `/invocations` path takes. The endpoint's task says it, never the look of a body."""
        return "responses" if self.task.endswith("/responses") else "chat"

    def api_types(self, spoken: Collection[Dialect]) -> list[str]:
        """The gateway's words for the APIs among `spoken`."""
        native = _NATIVE_API_TYPES.get(self.refused_as, {}) if "responses" in spoken else {}
        return [API_TYPES[one] for one in sorted(spoken)] + [native[one] for one in sorted(spoken) if one in native]

    @property
    def model_service(self) -> str:
        """The name the gateway knows this endpoint by; see `model_service_name`."""
        return model_service_name(self.name)


def model_service_name(name: str) -> str:
    """`databricks-X`, `system.ai.X` and `X` as the gateway's one name `system.ai.X`, dots in X as dashes.

    Source: "Use model services" (docs, 2026): a `databricks-X` name is read as `system.ai.X`.
    """
    bare = name.removeprefix("system.ai.").removeprefix("databricks-")
    return "system.ai." + bare.replace(".", "-")


def default_endpoints(model: Model | ReplySource, *, disguised: bool) -> tuple[Endpoint, ...]:
    """The endpoints that exist when none are named: three with names of the service, one under the model's own.

    `disguised` gives the first three served-entity names of the kind the service shows. The `model` of an
    answer always is the model that did answer.

    Usage in streams: on every chunk for Llama (recorded, llama-stack) and for Claude, which the docs count among
    the pay-per-token endpoints that do so unasked ("Use foundation models", "Query reasoning models"); in a last
    chunk for GPT, to clients that do not ask for it too (databricks-ai-bridge#198 and #265, seen live through
    ChatDatabricks, which sends no `stream_options`). Endpoints exist that must be asked (goose#7959). The model
    under its own name does as open models do. None of these is known to refuse `stream_options`.
    """
    own = "replay" if isinstance(model, ReplySource) else model.endpoint_name

    def served(name: str) -> str | None:
        return name if disguised else None

    return (
        Endpoint(
            "databricks-claude-sonnet-4-5",
            model,
            dress="claude-like",
            served_model=served("us.anthropic.claude-sonnet-4-5-20250929-v1"),
            speaks=("chat",),
        ),
        Endpoint("databricks-gpt-5", model, dress="gpt-like", served_model=served("gpt-5-2025-08-07")),
        Endpoint(
            "databricks-meta-llama-3-3-70b-instruct",
            model,
            dress="llama-like",
            served_model=served("meta-llama-3.3-70b-instruct-121024"),
            speaks=("chat",),
        ),
        Endpoint(own, model, stream_usage="every"),
    )


def describe(endpoint: Endpoint) -> Mapping[str, Any]:
    """An endpoint as list and get show it: the foundation-model shape, which has no `id`.

    Source: mondoohq/mql#9770 (pasted from a live workspace) for the keys, databricks-sdk `serving.py` for
    what stands in `state` and `config`. An agent is no foundation model, and does without what only these have.
    """
    entity: dict[str, Any] = {"name": endpoint.served_name}
    kind = {}
    if not endpoint.task.startswith("agent/"):
        display_name = endpoint.name.removeprefix("databricks-")
        entity["foundation_model"] = {"name": endpoint.model_service, "display_name": display_name}
        kind = {"endpoint_type": "FOUNDATION_MODEL_API"}
    return {
        "name": endpoint.name,
        "task": endpoint.task,
        **kind,
        "state": {"ready": "READY", "config_update": "NOT_UPDATING"},
        "config": {"served_entities": [entity]},
        "capabilities": {"function_calling": True},
        "creation_timestamp": 0,
        "last_updated_timestamp": 0,
        "permission_level": endpoint.permission,
    }


def describe_foundation_model(endpoint: Endpoint) -> Mapping[str, Any]:
    """An endpoint as `serving-endpoints:foundation-models` shows it, with what it advertises to the gateway.

    Source: databricks/unity-gateway#53 and other probes of 2026; the path is in no documentation.
    """
    model = {
        "name": endpoint.model_service,
        "display_name": endpoint.name.removeprefix("databricks-"),
        "api_types": endpoint.api_types(endpoint.speaks),
        "ai_gateway_v2_supported": True,
    }
    return {
        "name": endpoint.name,
        "state": {"ready": "READY", "config_update": "NOT_UPDATING"},
        "config": {"served_entities": [{"name": endpoint.served_name, "foundation_model": model}]},
    }
