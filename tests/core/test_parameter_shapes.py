"""Do tools and their choice say the same to the Responses API, one level flatter?"""

import pytest

from isochat.wire_format.parameter_shapes import flat_tool_choice, flat_tools

SCHEMA = {"type": "object", "properties": {}}
GRAMMAR = {"syntax": "lark", "definition": "start: /a+/"}


@pytest.mark.parametrize(
    ("tool", "flat"),
    [
        (
            {"type": "function", "function": {"name": "f", "parameters": SCHEMA}},
            {"type": "function", "name": "f", "parameters": SCHEMA, "strict": False},
        ),
        (
            {"type": "function", "function": {"name": "f", "strict": True}, "cache_control": {"type": "ephemeral"}},
            {"type": "function", "name": "f", "strict": True, "cache_control": {"type": "ephemeral"}},
        ),
        ({"type": "custom", "custom": {"name": "g"}}, {"type": "custom", "name": "g"}),
        (
            {"type": "custom", "custom": {"name": "g", "format": {"type": "text"}}},
            {"type": "custom", "name": "g", "format": {"type": "text"}},
        ),
        (
            {"type": "custom", "custom": {"name": "g", "format": {"type": "grammar", "grammar": GRAMMAR}}},
            {"type": "custom", "name": "g", "format": {"type": "grammar", **GRAMMAR}},
        ),
        ({"type": "custom", "name": "g"}, {"type": "custom", "name": "g"}),
        ({"type": "web_search"}, {"type": "web_search"}),
        ({"type": "mcp", "mcp": {"server": "s"}}, {"type": "mcp", "mcp": {"server": "s"}}),
        ("f", "f"),
    ],
)
def test_a_tool(tool, flat):
    assert flat_tools([tool]) == [flat]


@pytest.mark.parametrize(
    ("choice", "flat"),
    [
        ("required", "required"),
        ({"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}),
        ({"type": "custom", "custom": {"name": "g"}}, {"type": "custom", "name": "g"}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [
                        {"type": "function", "function": {"name": "f"}},
                        {"type": "custom", "custom": {"name": "g"}},
                        {"type": "web_search"},
                    ],
                },
            },
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [
                    {"type": "function", "name": "f"},
                    {"type": "custom", "name": "g"},
                    {"type": "web_search"},
                ],
            },
        ),
        ({"type": "function", "name": "f"}, {"type": "function", "name": "f"}),
        ({"type": "mcp", "server_label": "s"}, {"type": "mcp", "server_label": "s"}),
    ],
)
def test_a_choice(choice, flat):
    assert flat_tool_choice(choice) == flat
