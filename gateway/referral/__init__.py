"""The life of a referral: taken in, offered, answered, closed."""
