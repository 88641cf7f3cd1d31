"""The systems that ours is compared with: what they send, their networks, their shipped weights at work."""
