//! Tests that need the bytes: raw HTTP, event streams, WebSocket frames, signals and `/proc`.

mod abandoned;
mod backends;
mod bad_input;
mod bad_socket;
mod direct;
mod drain;
mod first_light;
mod ids;
mod pooled;
mod processes;
mod resume;
mod slow_sockets;
mod transparency;
mod unruly;
