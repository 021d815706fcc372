"""The nouns: topic, message, session, device, principal, permission, refusal."""
