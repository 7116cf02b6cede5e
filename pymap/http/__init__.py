"""Health and metrics over HTTP, for the programs that look after a server. docs/monitoring.md"""
