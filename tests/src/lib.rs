//! The product, driven from outside: real processes, real sockets, real clients.

pub mod fixture;
