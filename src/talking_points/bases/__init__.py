"""The base under the roles: one interface, which the paper's network implements."""
