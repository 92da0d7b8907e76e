"""Servers: witness and watcher, over HTTP. Asynchronous only here."""
