"""Does a call go through the proxy that the environment names, and only then?"""

import base64
import socket
import threading

import pytest
import trustme

HTTPS_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
BODY = (
    b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"through"},"finish_reason":"stop"}]}'
)


def answer(connection, server):
    connection.sendall(HTTPS_ANSWER + str(len(BODY)).encode() + b"\r\n\r\n" + BODY)
    return "keep"


def tunnel(connection, server):
    """A proxy: CONNECT, then bytes in both directions until one side has enough."""
    host, _, port = server.requests[-1].split()[1].decode().partition(":")
    upstream = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    back = threading.Thread(target=pump, args=(upstream, connection), daemon=True)
    back.start()
    pump(connection, upstream)
    back.join()
    upstream.close()


@pytest.fixture
def authority(tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.path = str(tmp_path / "ca.pem")
    return authority


@pytest.fixture
def secure(serve, authority):
    """A TLS server that answers, with a certificate of that authority for localhost."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return serve(answer, tls=context)


@pytest.fixture
def proxy(serve):
    return serve(tunnel)


@pytest.mark.parametrize("backend", ["rest", "openai-chat", "mlflow", "databricks-sdk"])
def test_https_goes_through_https_proxy(backend, make_client, secure, proxy, authority, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    result = make_client(backend, secure, ca_bundle=authority.path).chat("Hello")

    assert result.text == "through"
    assert [request.split()[:2] for request in proxy.requests] == [[b"CONNECT", f"localhost:{secure.port}".encode()]]
    assert b"dapi" not in b"".join(proxy.requests)


def test_the_login_of_a_proxy_goes_to_the_proxy_alone(make_client, secure, proxy, authority, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http://", "http://me:p%40ss@"))

    make_client("rest", secure, ca_bundle=authority.path).chat("Hello")

    login = base64.b64encode(b"me:p@ss")
    assert b"proxy-authorization: basic " + login.lower() in proxy.requests[0].lower()
    assert login not in b"".join(secure.requests)


def test_a_proxy_without_a_scheme_is_an_http_proxy(make_client, secure, proxy, authority, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.removeprefix("http://"))

    assert make_client("rest", secure, ca_bundle=authority.path).chat("Hello").text == "through"


def test_no_proxy_with_a_port_goes_straight(make_client, secure, proxy, authority, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", f"localhost:{secure.port}")

    make_client("rest", secure, ca_bundle=authority.path).chat("Hello")

    assert proxy.requests == []


def test_no_proxy_goes_straight(make_client, secure, proxy, authority, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "localhost")

    make_client("rest", secure, ca_bundle=authority.path).chat("Hello")

    assert proxy.requests == []


def test_trust_env_false_goes_straight(make_client, secure, proxy, authority, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    make_client("rest", secure, ca_bundle=authority.path, trust_env=False).chat("Hello")

    assert proxy.requests == []


def test_plain_http_to_this_machine_never_meets_a_proxy(make_client, workspace, proxy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)

    make_client("rest", workspace, endpoint="scripted").chat("Hello")

    assert proxy.connections == 0


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_certificates_named_by_the_environment_are_trusted(variable, make_client, secure, authority, monkeypatch):
    monkeypatch.setenv(variable, authority.path)

    assert make_client("rest", secure).chat("Hello").text == "through"
