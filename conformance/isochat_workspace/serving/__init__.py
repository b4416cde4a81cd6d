"""What does the service answer? Paths, credentials, refusals and dials, without a socket."""
