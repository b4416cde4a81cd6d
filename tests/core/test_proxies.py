"""Does a call go through the proxy that the environment names, and only then?"""

import base64

import pytest
from byte_server import tunnel

HTTPS_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
BODY = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"through"},"finish_reason":"stop"}]}'
)


def answer(connection, server):
    connection.sendall(HTTPS_ANSWER + str(len(BODY)).encode() + b"\r\n\r\n" + BODY)
    return "keep"


@pytest.fixture
def secure(serve, server_tls):
    """A TLS server that answers."""
    return serve(answer, tls=server_tls)


@pytest.fixture
def proxy(serve):
    return serve(tunnel)


@pytest.mark.parametrize("backend", ["rest", "openai-chat", "mlflow", "databricks-sdk"])
def test_https_goes_through_https_proxy(backend, make_client, secure, proxy, bundle, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    result = make_client(backend, secure, ca_bundle=bundle).chat("Hello")

    assert result.text == "through"
    assert [request.split()[:2] for request in proxy.requests] == [[b"CONNECT", f"localhost:{secure.port}".encode()]]
    assert b"dapi" not in b"".join(proxy.requests)


def test_the_login_of_a_proxy_goes_to_the_proxy_alone(make_client, secure, proxy, bundle, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "http://me:p%40ss@"))

    make_client("rest", secure, ca_bundle=bundle).chat("Hello")

    login = base64.b64encode(b"me:p@ss")
    assert b"proxy-authorization: basic " + login.lower() in proxy.requests[0].lower()
    assert login not in b"".join(secure.requests)


def test_a_proxy_without_a_scheme_is_an_http_proxy(make_client, secure, proxy, bundle, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.removeprefix("http://"))

    assert make_client("rest", secure, ca_bundle=bundle).chat("Hello").text == "through"


def test_no_proxy_with_a_port_goes_straight(make_client, secure, proxy, bundle, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", f"localhost:{secure.port}")

    make_client("rest", secure, ca_bundle=bundle).chat("Hello")

    assert proxy.requests == []


def test_no_proxy_goes_straight(make_client, secure, proxy, bundle, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "localhost")

    make_client("rest", secure, ca_bundle=bundle).chat("Hello")

    assert proxy.requests == []


def test_trust_env_false_goes_straight(make_client, secure, proxy, bundle, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    make_client("rest", secure, ca_bundle=bundle, trust_env=False).chat("Hello")

    assert proxy.requests == []


def test_plain_http_to_this_machine_never_meets_a_proxy(make_client, workspace, proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)

    make_client("rest", workspace, endpoint="scripted").chat("Hello")

    assert proxy.connections == 0


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_named_by_the_environment_are_trusted(variable, make_client, secure, bundle, monkeypatch):
    monkeypatch.setenv(variable, bundle)

    assert make_client("rest", secure).chat("Hello").text == "through"
