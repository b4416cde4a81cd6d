"""How does a real model answer on this machine? Its engine, grammars, and how they get here."""
