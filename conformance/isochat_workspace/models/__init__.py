"""What answers behind an endpoint? The class of models, and those that need no weights."""
