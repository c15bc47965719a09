"""The story of a referral, told by a gateway, a worker and three stand-in systems that really run."""
