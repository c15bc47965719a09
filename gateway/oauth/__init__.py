"""Who is calling: assertions, keys, scopes, tokens."""
