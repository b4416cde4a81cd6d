"""A streamed answer: bytes to events, events to chunks, chunks to the result that a plain call gives."""
