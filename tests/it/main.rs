//! Tests that need the bytes: raw HTTP, event streams, WebSocket frames, signals and `/proc`.

mod backends;
mod bad_input;
mod catalogue;
mod direct;
mod drain;
mod first_light;
mod ids;
mod pooled;
mod processes;
mod resume;
