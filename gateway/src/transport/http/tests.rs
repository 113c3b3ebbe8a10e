//! Answers of every kind, from a server made of raw sockets.
