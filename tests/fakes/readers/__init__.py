"""Apps that answer with the path as they see it, on servers that read it in different ways."""
