"""How do the APIs say it? Requests read and answers written, for chat, Responses and agents."""
