//! Tests that need the bytes: raw HTTP, event streams, WebSocket frames, signals and `/proc`.

mod abandoned;
mod backends;
mod bridge_down;
mod catalogue;
mod direct;
mod drain;
mod event_source;
mod first_light;
mod ids;
mod lists;
mod modern;
mod modern_backend;
mod paths;
mod pooled;
mod prefix;
mod processes;
mod resume;
mod slow_sockets;
mod streams;
mod tasks;
mod transparency;
mod unruly;
mod versions;
