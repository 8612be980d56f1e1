"""One module a page: each reads stored profiles and measurements and returns plain data for its template."""
