"""Who is it: SASL exchanges and password checks. Never in a backend, never on a socket."""
