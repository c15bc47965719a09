"""A black-box conformance kit for anyone's system."""
