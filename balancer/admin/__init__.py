"""The admin HTTP application: one handlers file per resource."""
