"""Describers that need no network."""
