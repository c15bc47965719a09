"""Evidence of every disclosure and refusal."""
