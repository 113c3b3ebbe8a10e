//! Test vocabulary.
