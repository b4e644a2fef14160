"""One folder per wire format: `urls`, `serializers`, `views`, `errors`. Dialects do not import each other."""
