"""The five backends, one module each, and the two doors through which clients reach isochat's wire."""
