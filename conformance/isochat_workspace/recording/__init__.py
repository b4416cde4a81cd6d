"""How is a real workspace recorded and told again? The proxy, cassettes, and their translation."""
