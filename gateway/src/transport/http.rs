//! Requests to Streamable HTTP endpoints.
