"""IMAP sessions written as text, and the program that plays them (see README.md)."""
