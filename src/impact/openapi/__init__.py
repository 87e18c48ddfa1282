"""The API's description (OpenAPI 3.1), made of the types that validate, and a page to read it."""
