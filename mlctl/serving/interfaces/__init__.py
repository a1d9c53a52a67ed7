"""Standard interfaces of an endpoint: OpenAPI, the Open Inference Protocol, detailed answers and CORS."""
