from isochat_conformance import BackendConformance


class TestHttpClient(BackendConformance):
    backend = "http-client"
