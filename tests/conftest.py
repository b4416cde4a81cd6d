"""For all tests: the canary looks for leaked tokens in whatever they bring about."""

pytest_plugins = ["canary"]
