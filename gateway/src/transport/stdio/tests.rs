//! Real processes, on every way they can come to an end.
