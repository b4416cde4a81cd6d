"""How does it go over the wire? The server, its replies and streams, and what clients sent."""
