"""Attacks over real sockets: each file is one, named for it. They know no internals but the sets
that must be empty once the attacker has gone."""
