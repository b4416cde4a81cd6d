"""The one wire under every client: urllib3, with a clock, caps and a tap of isochat's own."""
