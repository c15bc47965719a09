"""The commands of crisis-gateway: each is one call into the layers below."""
