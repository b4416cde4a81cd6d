"""Where do settings come from, and which source wins? One changed line in a file switches the client."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import isochat
from isochat.config.settings import resolve
from isochat_workspace import Workspace


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write an isochat.toml and give its path."""

    def writer(text: str) -> str:
        path = tmp_path / "isochat.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return writer


USER_AGENTS = {
    "rest": r"isochat/",
    "openai-chat": r"OpenAI/Python .* isochat/",
    "openai-responses": r"OpenAI/Python .* isochat/",
    "mlflow": r".*databricks-sdk-py/.* isochat/",
    "databricks-sdk": r".*databricks-sdk-py/.* isochat/",
}


def test_one_changed_line_switches_the_client(backend: str, workspace: Workspace, write: Any) -> None:
    file = write(
        f"""
        default_target = "dev"
        [targets.dev]
        backend = "{backend}"
        endpoint = "scripted"
        host = "{workspace.url}"
        token = "{workspace.token}"
        """
    )
    with isochat.Client(config_file=file) as client:
        result = client.chat("Hi")

    assert result.meta.backend == backend
    assert re.match(USER_AGENTS[backend], workspace.requests[0].header("user-agent") or "")


def test_params_of_a_target_are_defaults(workspace: Workspace, write: Any) -> None:
    file = write(
        f"""
        [targets.base]
        endpoint = "scripted"
        host = "{workspace.url}"
        token = "{workspace.token}"
        [targets.base.params]
        max_completion_tokens = 3
        temperature = 0.5
        top_p = 0.5
        [targets.dev]
        extends = "base"
        [targets.dev.params]
        temperature = 0.1
        """
    )
    with isochat.Client(target="dev", config_file=file) as client:
        client.chat("Hi", top_p=isochat.UNSET, temperature=None)  # type: ignore[typeddict-item]
    body = workspace.requests[0].json()
    body.pop("messages")

    assert body == {"max_tokens": 3, "temperature": 0.1}


@pytest.mark.parametrize("first", ["max_tokens", "max_completion_tokens"])
def test_unset_takes_nothing_from_what_the_call_says_by_the_other_name(workspace: Workspace, first: str) -> None:
    other = {"max_tokens": "max_completion_tokens"}.get(first, "max_tokens")
    with isochat.Client("rest", endpoint="scripted", host=workspace.url, token=workspace.token) as client:
        client.chat("Hi", **{first: 3, other: isochat.UNSET})
        client.chat("Hi", **{other: isochat.UNSET, first: 3})

    assert [request.json()["max_tokens"] for request in workspace.requests] == [3, 3]


def test_call_options_of_a_target(workspace: Workspace, write: Any) -> None:
    file = write(
        f"""
        [targets.dev]
        endpoint = "nope"
        host = "{workspace.url}"
        token = "{workspace.token}"
        [targets.dev.params]
        max_retries = 0
        """
    )
    with isochat.Client(target="dev", config_file=file) as client, pytest.raises(isochat.NotFoundError) as raised:
        client.chat("Hi")

    assert raised.value.attempts == 1


PRECEDENCE = [
    # argument, environment, file -> the endpoint in force
    ("a", "b", "c", "a", "argument"),
    (None, "b", "c", "b", "environment"),
    (None, None, "c", "c", "file"),
    (None, None, None, None, "default"),
    (None, "", "c", "c", "file"),
]


@pytest.mark.parametrize(("argument", "environment", "file", "expected", "kind"), PRECEDENCE)
def test_precedence(argument: Any, environment: Any, file: Any, expected: Any, kind: str, write: Any) -> None:
    path = write("[targets.dev]\n" + (f'endpoint = "{file}"' if file else ""))
    environ = {} if environment is None else {"ISOCHAT_ENDPOINT": environment}

    settings = resolve({"endpoint": argument}, target="dev", config_file=path, environ=environ)

    assert (settings["endpoint"], settings.sources["endpoint"].kind) == (expected, kind)


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("ISOCHAT_TIMEOUT", "5", "timeout", 5.0),
        ("ISOCHAT_DEADLINE", "inf", "deadline", float("inf")),
        ("ISOCHAT_MAX_RETRIES", "0", "max_retries", 0),
        ("ISOCHAT_MAX_CONNECTIONS", "3", "max_connections", 3),
        ("ISOCHAT_TRUST_ENV", "false", "trust_env", False),
        ("ISOCHAT_HEADERS", '{"X-A": "1"}', "headers", {"X-A": "1"}),
        ("ISOCHAT_BACKEND", "mlflow", "backend", "mlflow"),
    ],
)
def test_environment(variable: str, text: str, name: str, value: Any) -> None:
    assert resolve({}, environ={variable: text})[name] == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("ISOCHAT_TIMEOUT", "soon"),
        ("ISOCHAT_TIMEOUT", "nan"),
        ("ISOCHAT_MAX_RETRIES", "1.5"),
        ("ISOCHAT_MAX_CONNECTIONS", "0"),
        ("ISOCHAT_TRUST_ENV", "perhaps"),
        ("ISOCHAT_HEADERS", "X-A: 1"),
        ("ISOCHAT_HEADERS", "[1]"),
        ("ISOCHAT_ROUTE", "x"),
    ],
)
def test_environment_of_the_wrong_type(variable: str, text: str) -> None:
    with pytest.raises(isochat.ConfigurationError, match=variable):
        resolve({}, environ={variable: text})


MISTAKES: dict[str, tuple[str, str]] = {
    "unknown key": ('[targets.dev]\nendpont = "x"', r"unknown key 'endpont' in \[targets.dev\].*'endpoint'"),
    "unknown top-level key": ('defalt_target = "dev"', "'defalt_target'.*'default_target'"),
    "unknown parameter": ("[targets.dev.params]\nmax_token = 5", r"\[targets.dev.params\].*'max_tokens'"),
    "wrong type": ("[targets.dev]\nendpoint = 5", r"endpoint \(.*isochat.toml \[targets.dev\] endpoint\) is 5"),
    "wrong type of a time": ('[targets.dev]\ntimeout = "5"', "timeout.*seconds above 0"),
    "wrong type of a parameter": (
        '[targets.dev.params]\nmax_tokens = "5"',
        r"\[targets.dev.params\].*max_tokens is a string",
    ),
    "wrong time in params": ("[targets.dev.params]\ntimeout = -1", r"\[targets.dev.params\].*timeout is -1"),
    "wrong retries in params": ("[targets.dev.params]\nmax_retries = -1", "max_retries is -1"),
    "wrong word": ('[targets.dev]\nroute = "x"', "route.*It may be serving-endpoints"),
    "parameter by two names": (
        "[targets.dev.params]\nmax_tokens = 1\nmax_completion_tokens = 2",
        "one parameter",
    ),
    "params of no table": ("[targets.dev]\nparams = 5", "params in .* is no table"),
    "targets of no table": ("targets = 5", "no table of tables"),
    "target of no table": ("[targets]\ndev = 5", "no table of tables"),
    "default_target of a number": ("default_target = 5\n[targets.dev]", "default_target in .* is no text"),
    "circle": ('[targets.dev]\nextends = "b"\n[targets.b]\nextends = "dev"', "circle: dev -> b -> dev"),
    "itself": ('[targets.dev]\nextends = "dev"', "circle: dev -> dev"),
    "extends nothing": ('[targets.dev]\nextends = "devel"', r"'devel'.*which \[targets.dev\] extends.*'dev'"),
    "extends a list": ('[targets.dev]\nextends = ["a"]', "extends in .* is no text"),
    "duplicate": ('[targets.dev]\nendpoint = "a"\nendpoint = "b"', "cannot be read"),
    "not TOML": ("[targets.dev", "cannot be read"),
    "no such target": ("[targets.devel]", "no target 'dev'.*Did you mean 'devel'"),
    "no targets": ("", "It has no targets"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_the_file(name: str, write: Any) -> None:
    text, said = MISTAKES[name]
    with pytest.raises(isochat.ConfigurationError, match=said) as raised:
        isochat.Client(target="dev", config_file=write(text))

    assert (raised.value.remedy is not None, "\n" in str(raised.value)) == (True, False)
    assert "isochat.toml" in str(raised.value)


NEAR_AND_FAR = """\
default_target = "far"
[targets.far]
endpoint = "far"
timeout = 1
[targets.far.options]
served_model = "far"
api = "responses"
[targets.near]
extends = "far"
endpoint = "near"
[targets.near.options]
served_model = "near"
"""


def test_a_target_wins_over_what_it_extends_and_a_call_over_both(write: Any) -> None:
    settings = resolve({}, target="near", config_file=write(NEAR_AND_FAR))
    called = resolve({}, target="near", config_file=write(NEAR_AND_FAR), options={"served_model": "called"})

    assert (settings["endpoint"], settings["timeout"]) == ("near", 1.0)
    assert settings.options == {"served_model": "near", "api": "responses"}
    assert called.options == {"served_model": "called", "api": "responses"}


@pytest.mark.parametrize(
    ("target", "environment", "endpoint"),
    [
        (None, {}, "far"),
        ("near", {}, "near"),
        (None, {"ISOCHAT_TARGET": "near"}, "near"),
        ("far", {"ISOCHAT_TARGET": "near"}, "far"),
        ("near", {"ISOCHAT_CONFIG": "/nowhere.toml"}, "near"),
    ],
)
def test_which_target_of_which_file(target: Any, environment: Any, endpoint: str, write: Any) -> None:
    file = write(NEAR_AND_FAR)

    assert resolve({}, target=target, config_file=file, environ=environment)["endpoint"] == endpoint


def test_a_byte_order_mark_of_an_editor(write: Any) -> None:
    assert resolve({}, config_file=write("\ufeff" + NEAR_AND_FAR))["endpoint"] == "far"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(isochat.ConfigurationError, match=r"there is no file .*none\.toml"):
        isochat.Client(config_file=tmp_path / "none.toml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "isochat.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(isochat.ConfigurationError, match="cannot be read"):
        isochat.Client(config_file=tmp_path / "isochat.toml")


def test_the_working_directory_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "isochat.toml").write_text('default_target = "dev"\n[targets.dev]\nendpoint = "x"')
    monkeypatch.chdir(tmp_path)

    assert resolve({})["endpoint"] is None


def test_the_users_own_file(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(clean_environment / "config"))
    folder = clean_environment / "config" / "isochat"
    folder.mkdir(parents=True)
    (folder / "isochat.toml").write_text('[targets.dev]\nendpoint = "mine"')

    assert resolve({}, target="dev")["endpoint"] == "mine"


def test_a_section_of_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.other]\na = 1\n[tool.isochat.targets.dev]\nendpoint = "x"')

    assert resolve({}, target="dev", config_file=tmp_path / "pyproject.toml")["endpoint"] == "x"


# ------------------------------------------------------------------- a token goes only to the host of its own source

A, B = "https://a.example", "https://b.example"


def where_to(arguments: dict[str, str], environment: dict[str, str], file: dict[str, str], write: Any) -> str:
    """The host that gets the token, or the word "refused"."""
    from isochat.config.credential_sources import find_credentials
    from isochat.config.credentials import StaticToken

    lines = [f"{name} = {json.dumps(value)}" for name, value in file.items()]
    path = write("\n".join(["[targets.dev]", *lines]))
    settings = resolve(arguments, target="dev", config_file=path, environ=environment)
    try:
        credentials = find_credentials(settings, environment)
    except isochat.ConfigurationError as error:
        return "shown" if T in str(error) else "refused"
    assert isinstance(credentials, StaticToken)
    return credentials.host


T = "t-secret"
TOKENS: list[tuple[dict[str, str], dict[str, str], dict[str, str], str]] = [
    # arguments, environment, file, the host that gets the token
    ({"host": A, "token": T}, {}, {}, A),
    ({"host": A, "token": T}, {"DATABRICKS_HOST": B, "DATABRICKS_TOKEN": "other"}, {}, A),
    ({"token": T}, {"DATABRICKS_HOST": B}, {}, B),
    ({"token": T}, {}, {"host": A}, A),
    ({"token": T}, {}, {}, "refused"),
    ({}, {"DATABRICKS_HOST": A, "DATABRICKS_TOKEN": T}, {}, A),
    ({}, {"ISOCHAT_HOST": A, "ISOCHAT_TOKEN": T}, {}, A),
    ({}, {"ISOCHAT_HOST": A, "DATABRICKS_TOKEN": T}, {}, A),
    ({}, {"DATABRICKS_HOST": A, "ISOCHAT_TOKEN": T}, {}, A),
    ({}, {"ISOCHAT_HOST": A, "DATABRICKS_HOST": B, "DATABRICKS_TOKEN": T}, {}, "refused"),
    ({}, {"ISOCHAT_HOST": A, "DATABRICKS_HOST": B, "ISOCHAT_TOKEN": T}, {}, A),
    ({}, {"DATABRICKS_TOKEN": T}, {}, "refused"),
    ({"host": A}, {"DATABRICKS_TOKEN": T}, {}, "refused"),
    ({"host": A}, {"DATABRICKS_HOST": B, "DATABRICKS_TOKEN": T}, {}, "refused"),
    ({"host": A}, {"DATABRICKS_HOST": f"{A}/?o=1", "DATABRICKS_TOKEN": T}, {}, A),
    ({"host": A}, {"ISOCHAT_TOKEN": T}, {}, "refused"),
    ({}, {"DATABRICKS_TOKEN": T}, {"host": A}, "refused"),
    ({}, {"DATABRICKS_HOST": B, "DATABRICKS_TOKEN": T}, {"host": A}, "refused"),
    ({}, {"DATABRICKS_HOST": A, "DATABRICKS_TOKEN": T}, {"host": A}, A),
    ({}, {"ISOCHAT_TOKEN": T}, {"host": A}, "refused"),
    ({}, {}, {"host": A, "token": T}, A),
    ({}, {"DATABRICKS_HOST": B, "DATABRICKS_TOKEN": "other"}, {"host": A, "token": T}, A),
    ({"host": B}, {}, {"host": A, "token": T}, "refused"),
    ({"host": A}, {}, {"host": A, "token": T}, A),
    ({}, {"ISOCHAT_HOST": B}, {"host": A, "token": T}, "refused"),
    ({}, {"DATABRICKS_HOST": B}, {"token": T}, "refused"),
    ({"host": B}, {}, {"token": T}, "refused"),
]


@pytest.mark.parametrize(("arguments", "environment", "file", "expected"), TOKENS)
def test_a_token_goes_to_the_host_of_its_source(
    arguments: Any, environment: Any, file: Any, expected: str, write: Any
) -> None:
    assert where_to(arguments, environment, file, write) == expected


# ---------------------------------------------------------------------------------------------------- profiles


def test_a_profile_with_a_token(backend: str, workspace: Workspace, clean_environment: Path) -> None:
    (clean_environment / ".databrickscfg").write_text(
        "[DEFAULT]\nhost = https://x.example\ntoken = wrong\n"
        f"[dev]\nhost = {workspace.url}/\ntoken = {workspace.token}\n"
    )
    with isochat.Client(backend, profile="dev", endpoint="scripted") as client:
        assert client.chat("Hi").meta.status_code == 200


def test_a_profiles_token_is_taken_to_the_letter(workspace: Workspace, clean_environment: Path) -> None:
    """A percent sign begins nothing there."""
    with Workspace(token="dapi-100%(sure)s-of-it") as ws:
        (clean_environment / ".databrickscfg").write_text(f"[dev]\nhost = {ws.url}\ntoken = {ws.token}\n")
        with isochat.Client("rest", profile="dev", endpoint="scripted") as client:
            assert client.chat("Hi").meta.status_code == 200


def test_a_login_for_another_host_is_refused(workspace: Workspace, clean_environment: Path) -> None:
    (clean_environment / ".databrickscfg").write_text(
        f"[dev]\nhost = {workspace.url}\nusername = token\npassword = {workspace.token}\n"
    )
    client = isochat.Client("rest", profile="dev", host="https://other.example", endpoint="scripted")
    with client, pytest.raises(isochat.ConfigurationError, match="but the credentials found are for"):
        client.chat("Hi")

    assert [request.target for request in workspace.requests if request.method == "POST"] == []


def test_a_calls_header_takes_the_place_of_the_clients(
    backend: str, workspace: Workspace, make_client: Callable[..., isochat.Client]
) -> None:
    client = make_client(backend, workspace, headers={"X-Mine": "client", "X-Other": "client"})
    client.chat("Hi", extra_headers={"x-mine": "call"})

    sent = {name.lower(): value for name, value in workspace.requests[-1].headers}
    assert (sent["x-mine"], sent["x-other"]) == ("call", "client")
    assert [name.lower() for name, _ in workspace.requests[-1].headers].count("x-mine") == 1


def test_a_host_of_the_environment_alone_is_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said when the client is made, and nobody is asked in vain."""
    monkeypatch.setenv("DATABRICKS_HOST", "https://a.example")
    monkeypatch.setenv("PATH", "")

    with pytest.raises(isochat.ConfigurationError, match="there are no host and no credentials"):
        isochat.Client("rest", endpoint="scripted")


def test_the_default_profile_by_name(workspace: Workspace, clean_environment: Path) -> None:
    (clean_environment / ".databrickscfg").write_text(f"[DEFAULT]\nhost = {workspace.url}\ntoken = {workspace.token}\n")
    with isochat.Client("rest", profile="DEFAULT", endpoint="scripted") as client:
        assert client.chat("Hi").meta.status_code == 200


def test_a_profile_file_elsewhere(
    backend: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "profiles"
    path.write_text(f"[b]\nhost = {workspace.url}\nusername = token\npassword = {workspace.token}\n")
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(path))
    with isochat.Client(backend, profile="b", endpoint="scripted") as client:
        assert client.chat("Hi").meta.status_code == 200


def test_one_profiles_token_is_not_read_into_another(workspace: Workspace, clean_environment: Path) -> None:
    # Python's configparser hands the keys of [DEFAULT] to every section.
    (clean_environment / ".databrickscfg").write_text(
        f"[DEFAULT]\nhost = https://x.example\ntoken = {workspace.token}\n"
        f"[other]\nhost = {workspace.url}\nusername = u\npassword = p\n"
    )
    with isochat.Client("rest", profile="other", endpoint="scripted") as client, pytest.raises(isochat.StatusError):
        client.chat("Hi")

    assert workspace.requests[-1].header("authorization") == "Basic dTpw"


def test_the_environment_does_not_get_a_profiles_password(
    workspace: Workspace, clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean_environment / ".databrickscfg").write_text(
        f"[dev]\nhost = {workspace.url}\nusername = token\npassword = {workspace.token}\n"
    )
    with Workspace() as other:
        monkeypatch.setenv("DATABRICKS_HOST", other.url)
        monkeypatch.setenv("DATABRICKS_TOKEN", other.token)
        with isochat.Client("rest", profile="dev", endpoint="scripted") as client:
            client.chat("Hi")
        assert other.requests == []


def test_a_hosts_name_alone_gets_no_password_of_the_environment(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", "https://other.example")
    monkeypatch.setenv("DATABRICKS_USERNAME", "u")
    monkeypatch.setenv("DATABRICKS_PASSWORD", "p")
    monkeypatch.setenv("PATH", "")  # no command-line client to ask for a login
    with pytest.raises(isochat.ConfigurationError, match="no credentials for http"):
        isochat.Client("rest", host=workspace.url, endpoint="scripted")

    assert workspace.requests == []


def test_the_environments_own_login(backend: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    monkeypatch.setenv("DATABRICKS_USERNAME", "token")
    monkeypatch.setenv("DATABRICKS_PASSWORD", workspace.token)
    with isochat.Client(backend, endpoint="scripted") as client:
        assert client.chat("Hi").meta.status_code == 200


def test_with_nothing_but_the_environment(backend: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", workspace.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", workspace.token)
    with isochat.Client(backend, endpoint="scripted") as client:
        client.chat("Hi")

    assert [request.method for request in workspace.requests] == ["POST"]


@pytest.mark.parametrize(
    ("file", "arguments", "said"),
    [
        (None, {}, "there is no file .*databrickscfg with the profile 'dev'"),
        ("[prod]\nhost = https://x.example\ntoken = t\n", {}, "no profile 'dev'.*It has: prod"),
        ("[dev\ntoken = t-secret\n", {}, r"cannot be read \(MissingSectionHeaderError\)"),
        ("[dev]\nhost = https://x.example\ntoken = t\n", {"host": "https://y.example"}, "is for https://x.example"),
        ("[dev]\nhost = https://x.example\ntoken = t\n", {"token": "u"}, "profile and token are both given"),
        ("[dev]\nhost = http://x.example\ntoken = t\n", {}, "clear text"),
    ],
)
def test_mistakes_with_profiles(file: Any, arguments: Any, said: str, clean_environment: Path) -> None:
    if file is not None:
        (clean_environment / ".databrickscfg").write_text(file)
    with pytest.raises(isochat.ChatError, match=said) as raised:
        isochat.Client("rest", profile="dev", endpoint="x", **arguments)

    assert "t-secret" not in str(raised.value)


def test_arguments_go_before_the_files_profile(workspace: Workspace, write: Any) -> None:
    file = write('[targets.dev]\nprofile = "nowhere"\nendpoint = "scripted"')
    with isochat.Client(target="dev", config_file=file, host=workspace.url, token=workspace.token) as client:
        assert client.chat("Hi").meta.status_code == 200


def test_a_login_that_cannot_be_is_said_in_one_line(workspace: Workspace, clean_environment: Path) -> None:
    (clean_environment / ".databrickscfg").write_text(f"[dev]\nhost = {workspace.url}\nauth_type = pat\n")
    client = isochat.Client("rest", profile="dev", endpoint="scripted", deadline=30)
    with client, pytest.raises(isochat.ConfigurationError, match="no credentials for a Databricks") as raised:
        client.chat("Hi")

    assert (raised.value.attempts, "\n" in str(raised.value)) == (0, False)


def test_a_file_that_names_no_target_is_no_answer_to_the_question_for_one(tmp_path: Path) -> None:
    file = tmp_path / "isochat.toml"
    file.write_text('[targets.dev]\nendpoint = "e"\n', encoding="utf-8")

    with pytest.raises(isochat.ConfigurationError, match="names no default_target") as caught:
        isochat.Client(host="https://x.example", token="t", config_file=file)

    assert caught.value.remedy == "Name a target: dev"
