"""Where do a client's settings come from? Arguments, environment, a target in a file, Databricks' own."""
