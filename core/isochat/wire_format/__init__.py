"""The two JSON dialects of the service, read and written: chat completions and Responses."""
