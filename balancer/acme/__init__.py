"""What certificate authorities are asked by ACME (L0; RFC 8555). Only short-lived processes load it."""
