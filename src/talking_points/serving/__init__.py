"""A web page and an HTTP API over one loaded model, in one process."""
