"""OpenAI's images API under `/v1`, for its official client with another base URL and key."""
