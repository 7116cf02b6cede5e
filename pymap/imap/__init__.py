"""The engine: commands in, responses out. It awaits the backend, never a socket; `server` alone
knows transports."""
