"""Settings: the pydantic models, and loading them from environment and YAML."""
