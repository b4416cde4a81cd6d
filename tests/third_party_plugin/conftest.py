"""This distribution's test runs where the distribution is installed; isochat's own tests see to that."""

from __future__ import annotations

import isochat

collect_ignore = [] if "http-client" in isochat.backends() else ["test_http_client.py"]
