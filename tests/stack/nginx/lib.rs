//! Empty: cargo wants a target of a package whose only use is its lock file.
