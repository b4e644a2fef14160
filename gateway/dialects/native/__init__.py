"""Our own API under `/api/v1`: jobs, problem+json errors, OpenAPI at `/api/docs`."""
