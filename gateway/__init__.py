"""The crisis referral gateway: a referral comes in, is decided, is stored and goes out."""
