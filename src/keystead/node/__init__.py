"""What any node does with a stream: ingest it, answer queries, replay logs."""
